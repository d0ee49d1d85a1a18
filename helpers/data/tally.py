"""What became of the rows: counted by reason and source, with an example of each."""

from __future__ import annotations

import json
from collections import Counter

from helpers.data.limits import Check, rows_verdict, verdict
from helpers.data.reasons import Reason, Repair, UnreadRow, Unusable, in_words
from helpers.show.verdict import Verdict
from helpers.show.words import _

WANTED = (
    *(Reason.AGAIN, Reason.COPY, Reason.LEFT_OUT, Reason.LIGHT),
    *(Reason.MARKED_BAD, Reason.NOT_LEARNED, Reason.NOTHING_LEARNED),
)
MOST_AGAIN = 0.5  # share of the rows that may be there before
MOST_SOURCES = 100  # sources that the report names; the rest is put together
OTHERS = "(other sources)"
EXAMPLE = 300  # characters of an example
PROJECTED = 160  # ... and of one in the table that a teacher can project


class Tally:
    """Rows counted by reason and source, with the first example of each reason."""

    def __init__(self):
        self.counts: dict[str, Counter[str]] = {}
        self.firsts: dict[str, dict] = {}

    def add(self, reason: Unusable | Reason | Repair, source: str, row: object) -> None:
        sentence = str(reason)
        if sentence not in self.firsts:
            values = reason.values if isinstance(reason, Unusable) else {}
            code = reason.reason.name if isinstance(reason, Unusable) else reason.name
            self.firsts[sentence] = {"example": as_example(row), "code": code, "values": values}
            self.counts[sentence] = Counter()
        self.counts[sentence][source] += 1

    def total(self) -> int:
        return sum(count.total() for count in self.counts.values())

    def of(self, *reasons: Reason) -> int:
        """Rows with one of `reasons`, whatever their values."""
        codes = {reason.name for reason in reasons}
        return sum(self.counts[name].total() for name, first in self.firsts.items() if first["code"] in codes)

    def of_source(self, source: str) -> int:
        return sum(count.get(source, 0) for count in self.counts.values())

    def rows(self) -> list[dict]:
        """One row per reason, the most frequent first: reason, rows, by_source, example; code and values, to say it
        again."""
        found = []
        for sentence, first in self.firsts.items():
            count = self.counts[sentence]
            by_source = shorter([{"source": name, "rows": rows} for name, rows in count.most_common()])
            shown = {row["source"]: row["rows"] for row in by_source}
            found.append({"reason": sentence, "rows": count.total(), "by_source": shown, **first})
        return sorted(found, key=lambda row: -row["rows"])


def as_example(row: object) -> str:
    """The beginning of a row as one line of text that any file can hold."""
    text = row.text if isinstance(row, UnreadRow) else row
    text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, default=str)
    return text[:EXAMPLE].encode("utf-8", "replace").decode()


def shorter(rows: list[dict]) -> list[dict]:
    """The first MOST_SOURCES rows, and the sums of all others in one more."""
    rest = rows[MOST_SOURCES:]
    sums = {name: sum(row[name] for row in rest) for name in (rest[0] if rest else ()) if name != "source"}
    return [*rows[:MOST_SOURCES], {"source": OTHERS, **sums}] if rest else rows


def rows_lost(read: int, drops: Tally) -> dict:
    """The verdict on how much of the data was lost. Copies and what the data itself marks as bad are left out, not
    lost."""
    found = rows_verdict(Check.ROWS_LOST, drops.total() - drops.of(*WANTED), read)
    again = drops.of(Reason.AGAIN)
    if found["ok"] and again > MOST_AGAIN * read:
        measured = _("{rows:,} of {read:,} rows are the same conversation again").format(rows=again, read=read)
        fix = _("look at the columns that are not read: does one of them belong to the question? Then name it input")
        return verdict(Check.ROWS_LOST, Verdict.AMBER, measured, f"{MOST_AGAIN:.0%}", fix)
    return found


def what_was_done(report: dict) -> list[dict]:
    """data_report.json as the rows of one table, for a class: read, kept, repaired, dropped, amber, each with an
    example."""
    rows = report["rows"]
    read = rows["read"]
    found = [
        _line(_("read"), ", ".join(data["format"] for data in report["data"]), read, read),
        _line(_("kept"), _("to train on"), rows["train"], read),
        _line(_("kept"), _("held out"), rows["eval"], read),
    ]
    for what, part in ((_("repaired"), "repairs"), (_("dropped"), "drops")):
        found += [_line(what, in_words(row), row["rows"], read, row["example"]) for row in report[part]]
    for row in report.get("leftovers", []):
        amber = row["verdict"] == Verdict.AMBER
        what = Verdict.AMBER.word if amber else _("seen")
        found.append(_line(what, _(row["reason"]), row["rows"], read, row["example"]))
    return found


def fields_table(data: dict) -> list[dict]:
    """The columns and fields of one data set, and what each was read as."""
    return [{**row, "read as": _(row["read as"])} for row in data["fields"]]


def _line(what: str, why: str, rows: int, read: int, example: str = "") -> dict:
    share = f"{rows / max(read, 1):.1%}"
    return {"what": what, "which": why, "rows": rows, "share": share, "example": example[:PROJECTED]}
