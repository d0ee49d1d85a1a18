"""What became of the rows: counted by reason and source with examples; and did a mark take away whole answers?"""

import json
from collections import Counter

from helpers.data.limits import Check, rows_verdict, verdict
from helpers.data.reasons import Reason, Repair, UnreadRow, Unusable, reason_in_words
from helpers.data.values import from_json, in_words, is_turns
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
BY_A_COLUMN = (Reason.MARKED_BAD, Reason.NOT_LEARNED, Reason.WEIGHT, Reason.BELONGS, Reason.BELONG)
SHORT = 60  # characters of an answer that can be the name of a class
FEWEST = 3  # rows of an answer that are all taken away
MOST_GONE = 1 / 3  # share of the rows
MOST = 1000  # different answers that are remembered
EACH = 4  # rows that an answer has at least on average, where answers are classes


class Tally:
    """Rows counted by reason and source, with the first example of each reason."""

    def __init__(self):
        self.counts: dict[str, Counter[str]] = {}
        self.firsts: dict[str, dict] = {}

    def add(self, reason: Unusable | Reason | Repair, source: str, row: object) -> None:
        sentence = str(reason)
        if sentence not in self.firsts:
            kind, values = (reason.reason, reason.values) if isinstance(reason, Unusable) else (reason, {})
            self.firsts[sentence] = {"example": as_example(row), "code": kind.name, "values": values}
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
        """One row per reason, the most frequent first: reason, rows, by_source, example; code and values."""
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
    """The verdict on how much was lost; copies, and what the data itself marks as bad, are left out and not lost."""
    found = rows_verdict(Check.ROWS_LOST, drops.total() - drops.of(*WANTED), read)
    again = drops.of(Reason.AGAIN)
    if found["ok"] and again > MOST_AGAIN * read:
        measured = _("{rows:,} of {read:,} rows are the same conversation again").format(rows=again, read=read)
        fix = _("look at the columns that are not read: does one of them belong to the question? Then name it input")
        return verdict(Check.ROWS_LOST, Verdict.AMBER, measured, f"{MOST_AGAIN:.0%}", fix)
    return found


def what_was_done(report: dict) -> list[dict]:
    """data_report.json as one table for a class: read, kept, repaired, dropped, amber, each with an example."""
    rows, formats = report["rows"], ", ".join(data["format"] for data in report["data"])
    found = [
        (_("read"), formats, rows["read"], ""),
        (_("kept"), _("to train on"), rows["train"], ""),
        (_("kept"), _("held out"), rows["eval"], ""),
    ]
    for what, part in ((_("repaired"), "repairs"), (_("dropped"), "drops")):
        found += [(what, reason_in_words(row), row["rows"], row["example"]) for row in report[part]]
    for row in report.get("leftovers", []):
        what = Verdict.AMBER.word if row["verdict"] == Verdict.AMBER else _("seen")
        found.append((what, _(row["reason"]), row["rows"], row["example"]))
    read = max(rows["read"], 1)
    return [
        {"what": what, "which": why, "rows": count, "share": f"{count / read:.1%}", "example": example[:PROJECTED]}
        for what, why, count, example in found
    ]


def fields_table(data: dict) -> list[dict]:
    """The columns and fields of one data set, and what each was read as."""
    return [{**row, "read as": _(row["read as"])} for row in data["fields"]]


class Marks:
    """Rows that a column has dropped (label: false), by column, and the short answers that went and stayed."""

    def __init__(self):
        self.columns: Counter[str] = Counter()
        self.gone: Counter[str] = Counter()
        self.stayed: set[str] = set()
        self.bad = 0  # rows that a judgement has dropped
        self.rows = 0  # that stayed, as long as their answers were looked at

    def dropped(self, unusable: Unusable, row: object, form) -> None:
        if unusable.reason in BY_A_COLUMN and isinstance(row, dict):
            self.columns[unusable.values["value"].partition(":")[0]] += 1
            self.bad += unusable.reason is Reason.MARKED_BAD
            answer = _answer(row, form)
            if answer and len(answer) <= SHORT and len(self.gone) < MOST:
                self.gone[answer] += 1

    def kept(self, row: dict, form) -> None:
        if len(self.stayed) < MOST:
            self.rows += 1
            self.stayed.add(_answer(row, form))

    def verdict(self, read: int) -> dict:
        """Red when a mark takes away every row of an answer, or over a third of all: it is a class, no judgement."""
        gone, rows, columns = [], self.columns.total(), ", ".join(self.columns)
        if len(self.stayed) * EACH <= max(self.rows, EACH):  # answers are few, and come again
            gone = [name for name, count in self.gone.most_common() if count >= FEWEST and name not in self.stayed]
        measured = _("{rows:,} of {read:,} rows").format(rows=rows, read=read) + (f" ({columns})" if rows else "")
        if gone:
            measured += _(", with all of the answers {answers}").format(answers=", ".join(map(repr, gone[:3])))
        fix = _(
            "if {columns} is a class and no judgement of the answer, rename the column, such as to class; if it is a "
            "judgement (KTO's label), write the good rows into a file of their own"
        )
        state = Verdict.RED if gone or self.bad > MOST_GONE * read else Verdict.GREEN
        return verdict(Check.MARKS, state, measured, _("a third, no answer wholly"), fix.format(columns=columns))


def _answer(row: dict, form) -> str:
    """The beginning of the last answer of a row, as it stands there."""
    value = row.get(form.columns[-2 if form.name == "preference" else -1])
    turns = from_json(value) if form.name == "messages" else value
    if is_turns(turns):
        value = turns[-1].get("content", turns[-1].get("value"))
    text = in_words(value, [])
    return text.rpartition("<bot>")[2].strip()[: 2 * SHORT] if isinstance(text, str) else ""
