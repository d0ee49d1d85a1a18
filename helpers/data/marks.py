"""Columns that mark rows as bad (label: false): do they take away whole answers? Then the mark is a class, not a
judgement."""

from __future__ import annotations

from collections import Counter

from helpers.data.limits import Check, verdict
from helpers.data.reasons import Reason, Unusable
from helpers.data.values import from_json, in_words, is_turns
from helpers.show.verdict import Verdict
from helpers.show.words import _

BY_A_COLUMN = (Reason.MARKED_BAD, Reason.NOT_LEARNED, Reason.WEIGHT, Reason.BELONGS, Reason.BELONG)
SHORT = 60  # characters of an answer that can be the name of a class
FEWEST = 3  # rows of an answer that are all taken away
MOST_GONE = 1 / 3  # share of the rows
MOST = 1000  # different answers that are remembered
EACH = 4  # rows that an answer has at least on average, where answers are classes


class Marks:
    """Rows that a column has dropped, by column, and the short answers that went and stayed."""

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

    def lost_answers(self) -> list[str]:
        """Answers of which every row was dropped, in data whose answers are few and come again."""
        if len(self.stayed) * EACH > max(self.rows, EACH):
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
    fix = _(
        "if {columns} is a class and no judgement of the answer, rename the column, such as to class; if it is a "
        "judgement (KTO's label), write the good rows into a file of their own"
    )
    state = Verdict.RED if gone or marks.bad > MOST_GONE * read else Verdict.GREEN
    limit = _("a third, no answer wholly")
    return verdict(Check.MARKS, state, measured, limit, fix.format(columns=", ".join(marks.columns)))


def _answer(row: dict, form) -> str:
    """The beginning of the last answer of a row, as it stands there."""
    value = row.get(form.columns[-2 if form.name == "preference" else -1])
    turns = from_json(value) if form.name == "messages" else value
    if is_turns(turns):
        value = turns[-1].get("content", turns[-1].get("value"))
    text = in_words(value, [])
    return text.rpartition("<bot>")[2].strip()[: 2 * SHORT] if isinstance(text, str) else ""
