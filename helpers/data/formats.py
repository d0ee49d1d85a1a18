"""Any common format of instruction data -> messages: which columns hold what; `adapters`, `normalise` do the rest."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from helpers.data.adapters import ADAPTERS, put_beside
from helpers.data.columns import Means, beside, meaning, misnamed_columns, plain_name
from helpers.data.normalise import ROLE_TOKEN, Converted, document, normalise
from helpers.data.reasons import Reason, Repair, UnreadRow, Unusable
from helpers.data.turns import schema
from helpers.data.values import is_tabular
from helpers.show.words import N_, _

# format -> the sets of columns that it is recognised by, in order of preference; the last column is the answer's
FORMATS = {
    "preference": [
        *((name, "chosen", "rejected") for name in "prompt question instruction conversations messages".split()),
        ("chosen", "rejected"),
    ],
    "messages": [("messages",), ("conversations",), ("conversation",)],
    "open-korean-instructions": [("text",)],
    "instruction": [("instruction", "output"), ("instruction", "response"), ("instruction", "answer")],
    "prompt-completion": [("prompt", "completion"), ("prompt", "response")],
    "question-answer": [
        *(("q", "a"), ("question", "answer"), ("question", "answers"), ("questions", "answers")),
        *(("question", "response"), ("query", "response"), ("problem", "solution"), ("input", "output")),
        ("질문", "답변"),
    ],
    "text": [("text",)],
}
WHOLE = {"text": N_("the text"), "messages": N_("the conversation"), "open-korean-instructions": N_("the conversation")}
QUESTION, ANSWER, WORSE = N_("question"), N_("answer"), N_("left out: the worse answer")
THE_TURN, NOT_READ = N_("the turn"), N_("not read")
TURN_FIELDS = {"role", "from", "content", "value", "tool_calls", "function_call", "tool_call_id", "name", "id"}
SHOWN = 20  # names of columns in a sentence
# of a raw text; beside other columns, or with turns in it, a text is not taken for one unless dataset_format says so
ABOUT_A_TEXT = {*"id title url source date timestamp created language lang author license meta metadata".split()}
TURNS = re.compile(
    r"<\|(im_start|user|assistant|start_header_id)|\[/?INST\]|<start_of_turn>|"
    r"^(### ?|<)?(human|user|assistant|instruction|response|bot|질문|답변|사용자)>?\s*:", re.I | re.M,
)  # fmt: skip
ASKS = "q|question|user|human|customer|고객|손님|사용자|질문자?|학생|환자|민원인|명령어?|지시|instruction"
SAYS = "a|answer|assistant|agent|ai|bot|gpt|response|상담[사원]|챗봇|답변자?|응답|선생님?|의사|도우미"
# two speakers of one text; what one text in many holds may be a quotation
SPEAKERS = re.compile(
    rf"^\W{{0,4}}({ASKS}) ?\W{{0,2}}([:：\]]|$)(?s:.*?)^\W{{0,4}}({SAYS}) ?\W{{0,2}}([:：\]]|$)|"
    r"(?-i:\b(USER|User): (?s:.*)\b(ASSISTANT|Assistant):)", re.I | re.M,
)  # fmt: skip
LOOKED_INTO = 5000  # characters of a text
FEW = 8  # rows from which on it can be said that the questions are all alike


class Format(NamedTuple):
    """How the rows of a data set are read."""

    name: str  # a key of FORMATS
    columns: tuple[str, ...]  # as the data set spells them
    misnamed: tuple[str, ...] = ()  # columns whose values are of another kind than the name says (review: a text)
    joins: bool = False  # ... which belong to the question, for the questions are alike without them
    lists: bool = False  # dataset_format is set: a JSON list of questions and one as long of answers are several
    tabular: bool = False  # nulls come from a table (Arrow, Parquet)

    @property
    def several(self) -> bool:
        """May a list in one row be several questions and answers? Elsewhere it is data, such as an extraction."""
        return self.name == "question-answer" and plain_name(self.columns[0]) != "input"


def known_columns(names: Iterable[str]) -> bool:
    """True when `names` of columns are those of a format."""
    there = set(map(plain_name, names))
    return any(there.issuperset(columns) for sets in FORMATS.values() for columns in sets)


def recognise(rows: list, wanted: str = "auto") -> Format:
    """The format of a data set, by the columns of its first `rows`, or `wanted` checked against them.

    Raises ValueError naming the columns and the formats known when nothing fits, or two columns of one name.
    """
    if wanted != "auto" and wanted not in FORMATS:
        sentence = _("dataset_format={wanted!r} is not known: use auto or one of {formats}.")
        raise ValueError(sentence.format(wanted=wanted, formats=", ".join(FORMATS)))
    read = [row for row in rows if isinstance(row, dict)]
    spelled: dict[str, list[str]] = {}
    for column in dict.fromkeys(str(key) for row in read for key in row):
        spelled.setdefault(plain_name(column), []).append(column)
    for name in FORMATS if wanted == "auto" else [wanted]:
        for columns in FORMATS[name]:
            if spelled.keys() >= set(columns) and (name == wanted or _holds(name, spelled[columns[-1]][0], read)):
                return _format(name, [spelled[column] for column in columns], read, lists=wanted != "auto")
    raise ValueError(_unknown(rows, sum(spelled.values(), []), wanted))


def _holds(name: str, column: str, rows: list[dict]) -> bool:
    """Do the values of the last column fit, where its name alone does not tell?"""
    values = [row.get(column) for row in rows]
    if name == "preference":  # a column "rejected" of true and false is a mark
        return any(isinstance(value, (str, list, dict)) for value in values)
    if name == "text":
        others = {plain_name(str(key)) for row in rows for key in row} - {plain_name(column)}
        spoken = sum(bool(SPEAKERS.search(str(value)[:LOOKED_INTO])) for value in values)
        turns = 2 * spoken > len(values) or any(TURNS.search(str(value)) for value in values)
        return others <= ABOUT_A_TEXT and not turns
    return name != "open-korean-instructions" or any(ROLE_TOKEN.search(str(value)) for value in values)


def _format(name: str, spelled: list[list[str]], rows: list[dict], lists: bool) -> Format:
    if same := next((names for names in spelled if len(names) > 1), None):
        sentence = _("The columns {columns} have one name: rename or remove one.")
        raise ValueError(sentence.format(columns=_(" and ").join(map(repr, same))))
    columns = tuple(names[0] for names in spelled)
    misnamed = misnamed_columns(rows, columns)
    # where most rows ask the same, what tells them apart must stand elsewhere
    asking = {column for row in rows for column in row if column in columns[:-1] or meaning(column) is Means.CONTEXT}
    questions = {str([value for column, value in row.items() if column in asking]) for row in rows}
    alike = len(rows) >= FEW and len(questions) <= len(rows) / 2
    return Format(name, columns, misnamed, bool(misnamed) and alike, lists, is_tabular(rows))


def _unknown(rows: list, columns: list[str], wanted: str) -> str:
    """Why no format fits."""
    if rows and not columns:
        first = rows[0] if isinstance(rows[0], UnreadRow) else UnreadRow(str(rows[0]))
        sentence = _(
            "None of the first rows can be read ({reason}): write one object in each line, without a comma behind it, "
            "or one list of objects. The first row: {row!r}."
        )
        return sentence.format(reason=first.reason.format(**first.values), row=first.text.strip()[:60])
    known = "; ".join(f"{name}: {_(' or ').join(map('+'.join, sets))}" for name, sets in FORMATS.items())
    names = ", ".join(columns[:SHOWN]) or "(none)"
    if len(columns) > SHOWN:
        names = _("{names} and {more} more").format(names=names, more=len(columns) - SHOWN)
    sentence = _(
        "No known format{wanted} in the columns {columns}. Known are {known} (a text with turns or marks beside it "
        "only when dataset_format says how to read it). Rename your columns, or set dataset_format."
    )
    return sentence.format(wanted="" if wanted == "auto" else f" {wanted!r}", columns=names, known=known)


def convert(row: object, form: Format) -> Converted:
    """One row as messages. Raises Unusable."""
    if isinstance(row, UnreadRow):
        raise Unusable(row.reason, **row.values)
    if not isinstance(row, dict):
        raise Unusable(Reason.UNREADABLE)
    for column in form.columns:
        if column not in row:
            raise Unusable(Reason.NO_COLUMN, value=column)
    repairs: list[Repair] = []
    if form.name == "text":
        return document(row[form.columns[0]], repairs)
    others = beside(row, form, repairs)
    turns = ADAPTERS[form.name]([row[column] for column in form.columns], row, form, repairs)
    turns = put_beside(turns, others, form, repairs)
    return normalise(turns, repairs, tuple(schema(tool, repairs, form.tabular) for tool in others.tools))


def in_one_text(row: object, form: Format) -> str:
    """A row to look at: "role: content" for each turn, or why it is dropped."""
    try:
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in convert(row, form).messages)
    except Unusable as unusable:
        reason = _(unusable.reason).format(**unusable.values)
        return _("dropped: {reason}").format(reason=reason)


def fields_read(form: Format, columns: Counter, turns: Counter) -> list[dict]:
    """What is read and what is not, for the reader: column or field, read as, rows (or turns) that hold it."""
    parts = {**dict.fromkeys(form.columns[:-1], QUESTION), form.columns[-1]: WHOLE.get(form.name, ANSWER)}
    if form.name == "preference":
        parts |= {form.columns[-2]: ANSWER, form.columns[-1]: WORSE}
    parts |= dict.fromkeys(form.misnamed, Means.CONTEXT if form.joins else NOT_READ)
    fields = [(name, parts.get(name) or meaning(name), rows) for name, rows in columns.items()]
    for name, rows in turns.items():
        means = meaning(name) or (THE_TURN if name in TURN_FIELDS else None)
        fields.append((f"{form.columns[0]}[].{name}", means, rows))
    return [{"field": name, "read as": str(means or NOT_READ), "rows": rows} for name, means, rows in fields]
