"""What became of the rows: counted by reason and source, with an example of each, and a verdict on how much was lost."""

from __future__ import annotations

import json
from collections import Counter

AGAIN = "the same conversation again"
COPY = "held out, but nearly the same as a training conversation"
LIGHT = "left out by the weight of its data set"
MOST_LOST = 0.2  # share of the rows that may be dropped before 04 refuses
MOST_SOURCES = 100  # sources that the report names; the rest is put together
OTHERS = "(other sources)"


class Tally:
    """Rows counted by reason and source, with the first example of each reason."""

    def __init__(self):
        self.counts: dict[str, Counter[str]] = {}
        self.examples: dict[str, str] = {}

    def add(self, reason: str, source: str, row) -> None:
        if reason not in self.examples:
            text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, default=str)
            self.examples[reason] = text[:300].encode("utf-8", "replace").decode()
            self.counts[reason] = Counter()
        self.counts[reason][source] += 1

    def total(self) -> int:
        return sum(count.total() for count in self.counts.values())

    def rows(self) -> list[dict]:
        """One row per reason, the most frequent first: reason, rows, by_source, example."""
        found = []
        for reason, example in self.examples.items():
            by_source = [{"source": name, "rows": rows} for name, rows in self.counts[reason].most_common()]
            shown = {row["source"]: row["rows"] for row in shorter(by_source)}
            found.append(
                {"reason": reason, "rows": self.counts[reason].total(), "by_source": shown, "example": example}
            )
        return sorted(found, key=lambda row: -row["rows"])


def shorter(rows: list[dict]) -> list[dict]:
    """The first MOST_SOURCES rows, and the sums of all others in one more."""
    rest = rows[MOST_SOURCES:]
    sums = {name: sum(row[name] for row in rest) for name in (rest[0] if rest else ()) if name != "source"}
    return [*rows[:MOST_SOURCES], {"source": OTHERS, **sums}] if rest else rows


def rows_lost(read: int, drops: Tally) -> dict:
    """The verdict on how much of the data was lost. Copies and what the data itself marks as bad are left out, not lost."""
    wanted = (AGAIN, COPY, LIGHT, "marked as bad", "not to be learned", "no answer in it is to be learned")
    lost = sum(count.total() for reason, count in drops.counts.items() if not reason.startswith(wanted))
    return {
        "check": "rows lost",
        "ok": lost <= MOST_LOST * read,
        "measured": f"{lost:,} of {read:,} rows",
        "limit": f"{MOST_LOST:.0%}",
        "fix": "look at the reasons for which rows were dropped, and mend the data or its format",
    }
