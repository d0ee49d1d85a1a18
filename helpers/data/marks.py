"""Columns that mark rows as bad (label: false): do they take away whole answers? Then the mark is a class, not a
judgement."""

from __future__ import annotations

from collections import Counter

from helpers.data.limits import Check, verdict
from helpers.data.reasons import Reason, Unusable
from helpers.show.verdict import Verdict
from helpers.show.words import _

SHORT = 60  # characters of an answer that can be the name of a class
FEWEST = 3  # rows of an answer that are all taken away
MOST_GONE = 1 / 3  # share of the rows
MOST = 1000  # different answers that are remembered


class Marks:
    """Rows that a mark has dropped, by column, and the short answers that went and stayed."""

    def __init__(self):
        self.columns: Counter[str] = Counter()
        self.gone: Counter[str] = Counter()
        self.stayed: set[str] = set()

    def dropped(self, unusable: Unusable, row: object, form) -> None:
        if unusable.reason is Reason.MARKED_BAD and isinstance(row, dict):
            self.columns[unusable.values["value"].partition(":")[0]] += 1
            answer = _answer(row, form)
            if answer and len(self.gone) < MOST:
                self.gone[answer] += 1

    def kept(self, row: dict, form) -> None:
        answer = _answer(row, form)
        if answer and len(self.stayed) < MOST:
            self.stayed.add(answer)

    def lost_answers(self) -> list[str]:
        """Answers of which every row was dropped."""
        if len(self.stayed) >= MOST:  # answers of so many kinds are no classes
            return []
        return [answer for answer, rows in self.gone.most_common() if rows >= FEWEST and answer not in self.stayed]


def marks_verdict(read: int, marks: Marks) -> dict:
    """Red when a mark takes away every row of an answer, or more than a third of all rows: it names the column."""
    gone, rows = marks.lost_answers(), marks.columns.total()
    measured = _("{rows:,} of {read:,} rows").format(rows=rows, read=read)
    if rows:
        measured += f" ({', '.join(marks.columns)})"
    if gone:
        measured += _(", with all of the answers {answers}").format(answers=", ".join(map(repr, gone[:3])))
    fix = _("if {columns} is a class and no judgement of the answer, rename the column, such as to class")
    state = Verdict.RED if gone or rows > MOST_GONE * read else Verdict.GREEN
    limit = _("a third, no answer wholly")
    return verdict(Check.MARKS, state, measured, limit, fix.format(columns=", ".join(marks.columns)))


def _answer(row: dict, form) -> str:
    column = form.columns[-2 if form.name == "preference" else -1]
    value = row.get(column)
    return value.strip() if isinstance(value, str) and len(value) <= SHORT else ""
