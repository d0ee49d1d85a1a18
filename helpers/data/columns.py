"""Columns beside the question and the answer: which are read and as what, which forbid a row, which are not read.

A column that is not known is not read, and 03 lists it. One that is known to reverse the meaning (label: false) or to
complete it (choices, images) is honoured, or its row is dropped with the reason.
"""

import functools
import re
import unicodedata
from collections import defaultdict
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.values import as_number, as_text, from_json, in_words, missing
from helpers.show.words import N_


class Means(StrEnum):
    """What a column, or a field of a turn, is read as."""

    SYSTEM = N_("system turn")
    HISTORY = N_("earlier turns")
    CONTEXT = N_("joined to the question")
    THOUGHT = N_("thought before the answer")
    TOOLS = N_("tools")
    GOOD = N_("is the answer good?")
    BAD = N_("is the answer bad?")
    RATED = N_("how good is the answer?")
    LEARNED = N_("is it learned?")
    NO_TEXT = N_("a part that is no text")
    SOURCE = N_("name of the source")


READ_AS = {
    Means.SYSTEM: "system system_prompt system_message systemprompt sys_prompt",
    Means.HISTORY: "history chat_history conversation_history dialog_history dialogue_history previous_turns "
    "previous_messages past_messages",
    Means.CONTEXT: "input inputs context contexts passage passages paragraph document documents article "
    "knowledge background table 지문 문맥 본문 배경",
    Means.THOUGHT: "reasoning_content reasoning thinking thought thoughts complex_cot cot chain_of_thought",
    Means.TOOLS: "tools functions",
    Means.GOOD: "label correct is_correct accepted approved good is_good preferred thumbs_up valid is_valid",
    Means.BAD: "rejected is_rejected deleted is_deleted bad is_bad wrong incorrect thumbs_down masked is_masked",
    Means.RATED: "rating score reward votes upvotes feedback thumbs vote verdict quality review 평가",
    Means.LEARNED: "weight sample_weight loss_weight loss_mask train training trainable loss",
    Means.NO_TEXT: "image images audio audios video videos attachment attachments choices options "
    "answer_choices answer_options 보기 선택지 선지",
    Means.SOURCE: "source",
}
MEANING = {name: means for means, names in READ_AS.items() for name in names.split()}
TEXTS = (Means.SYSTEM, Means.CONTEXT, Means.THOUGHT)
MARKS = (Means.GOOD, Means.BAD, Means.RATED, Means.LEARNED)
CHOICE = re.compile(r"(?:option|choice|opt|답지|보기)s?[ _-]?[a-e1-5]")  # one of several columns of a multiple choice
LETTERS = set("abcd")
BAD_WORDS = "bad wrong incorrect rejected reject negative poor dislike down thumbs_down thumbsdown 👎 나쁨 불량".split()
NO_INPUT = "noinput|no input|n/a|n.a|not applicable|none|null|nan|nil".split("|")
NO_INPUT += "없음|해당 없음|해당없음|해당사항 없음|입력 없음".split("|")
MISSING = ("NA", "\\N")  # of R and pandas, of MySQL: only as they write it, for Na is sodium
NAMED_INPUT = re.compile(r"(?:input|입력) ?[:：]", re.I)
FLAG = re.compile(r"is_\w+|accepted|approved|rejected|deleted|masked")  # a yes or no, also as a database writes it
YES, NO = ("true", "1", "1.0", "yes", "y"), ("false", "0", "0.0", "no", "n")  # the first of each is meant everywhere
WORDY = 12  # characters; a longer text in the column of a mark, or one of several words, is no mark


class Beside(NamedTuple):
    """What stands beside the question and the answer of one row."""

    system: str
    context: str
    thought: str
    history: tuple  # as the data set spells it
    tools: list[dict]


@functools.lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A name as it is compared: small, its letters put together (a Mac takes them apart), without invisible signs."""
    return "".join(filter(str.isprintable, unicodedata.normalize("NFKC", name))).strip().lower()


def is_no_input(text: str) -> bool:
    """True for a word, or a dash, that stands for nothing: None, <noinput>, (없음), N/A, #N/A, <NA>, \\N."""
    plain = NAMED_INPUT.sub("", text.strip(), count=1).strip(" <>[]().-–—\"'#")
    return plain.lower() in NO_INPUT or plain in MISSING or (not plain and text.strip(" -–—.") == "" != text)


@functools.lru_cache(maxsize=4096)
def meaning(column: object) -> Means | None:
    """What a column of this name is read as; None when it is not read."""
    return MEANING.get(plain_name(column).replace(" ", "_")) if isinstance(column, str) else None


def beside(row: dict, form, repairs: list[Repair]) -> Beside:
    """The columns of `row` other than those of its format. Raises Unusable when one forbids the row."""
    if choices := _choices(tuple(row), form.columns):
        raise Unusable(Reason.CHOICES, value=", ".join(choices))
    texts: dict[Means, list[str]] = {means: [] for means in TEXTS}
    lists = {Means.HISTORY: [], Means.TOOLS: []}
    for column, value in row.items():
        means = meaning(column)
        if column in form.misnamed:  # the values of the first rows are of another kind
            means = Means.CONTEXT if form.joins else None
        if means is None or column in form.columns or missing(value):
            continue
        if means in texts:
            texts[means] += _text_of(column, value, means, form, repairs)
        elif means in lists:
            lists[means] = _with_more(lists[means], value, repairs)
        elif means is Means.NO_TEXT:
            raise Unusable(Reason.BELONG if column.endswith("s") else Reason.BELONGS, value=column)
        else:
            # a label of 0 or 1 is a judgement in TRL's prompt, completion, label; elsewhere it is a class
            refuse_marked(column, value, zero_is_bad=form.name == "prompt-completion")
    history, tools = lists.values()
    if not isinstance(history, (list, tuple)):
        raise Unusable(Reason.HISTORY_NO_LIST)
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Unusable(Reason.TOOLS)
    system, context, thought = map("\n\n".join, texts.values())
    return Beside(system, context, thought, tuple(history), tools)


def _with_more(held: list, value: object, repairs: list[Repair]) -> list:
    """The list of a column behind what another column of the same meaning held; a word for nothing is none."""
    if isinstance(value, str) and is_no_input(value):
        repairs.append(Repair.NO_INPUT)
        return held
    read = from_json(value)
    both = isinstance(held, list) and isinstance(read, list)
    return [*held, *(item for item in read if item not in held)] if both else read


def _text_of(column: str, value: object, means: Means, form, repairs: list[Repair]) -> list[str]:
    """The text of a column; none for a word that stands for nothing."""
    of_question = form.name == "instruction" and plain_name(column) == "input"  # as much as the instruction is
    text = in_words(value, repairs, form.tabular) if of_question else as_text(value)
    if text is None:
        raise Unusable(Reason.COLUMN_NOT_TEXT, value=column)
    if not is_no_input(text):
        return [text]
    repairs.append(Repair.NO_INPUT)
    return []


@functools.lru_cache(maxsize=4096)
def _choices(names: tuple, columns: tuple[str, ...]) -> list[str]:
    """The columns of a multiple choice, one per choice: A, B, C, D, or option_1, option_2 and so on."""
    plain = {name: plain_name(str(name)) for name in names}
    letters = [column for column, name in plain.items() if name in LETTERS]  # a may be taken for the answer to q
    numbered = [column for column, name in plain.items() if CHOICE.fullmatch(name) and column not in columns]
    return letters if len(letters) == len(LETTERS) else numbered if len(numbered) > 1 else []


def misnamed_columns(rows: list[dict], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Columns whose values are mostly of another kind than the name says: a text as review, prose as history."""
    values: dict[str, list] = defaultdict(list)
    for column, value in chain.from_iterable(row.items() for row in rows):
        if column not in columns and meaning(column) and not missing(value):
            values[column].append(value)
    misnamed = []
    for column, held in values.items():
        other = [value for value in held if not _fits(meaning(column), column, value)]
        if meaning(column) is Means.SOURCE:  # a name stands in many rows, a text in one
            other = {value for value in other if " " in value}
        if len(other) > len(held) / 2:
            misnamed.append(column)
    return tuple(misnamed)


def _fits(means: Means | None, column: str, value: object) -> bool:
    """Is `value` of the kind that the name of its column says?"""
    if means is Means.THOUGHT:
        return not isinstance(value, (bool, int, float))
    if means is Means.LEARNED and "weight" not in column and as_number(value) not in (None, 0, 1):
        return False
    prose = isinstance(value, str) and as_number(value) is None and (len(value) > WORDY or len(value.split()) > 2)
    if means in (Means.HISTORY, Means.TOOLS):
        return not prose or isinstance(from_json(value), list)
    return not prose or means not in (*MARKS, Means.SOURCE)


def refuse_marked(name: str, value: object, zero_is_bad: bool = False) -> None:
    """Raises Unusable when an answer that `name`: `value` stands beside must not be learned.

    True and false count also as a CSV file writes them; 0, 1, yes and no may be classes, but not where the name asks.
    """
    means, number, word = meaning(name), as_number(value), str(value).strip().lower()
    shown = f"{name}: {str(value)[:20]}"
    if means is Means.LEARNED:
        if word == "false" or number == 0:
            raise Unusable(Reason.NOT_LEARNED, value=shown)
        if word != "true" and number != 1:
            raise Unusable(Reason.WEIGHT, value=name)
    flag = FLAG.fullmatch(plain_name(name).replace(" ", "_"))
    yes, no = (word in words[: None if flag else 1] for words in (YES, NO))
    low = no or (number is not None and (number < 0 or (zero_is_bad and number == 0)))
    bad = {Means.BAD: yes, Means.GOOD: low, Means.RATED: low or word in BAD_WORDS}
    if means and bad.get(means):
        raise Unusable(Reason.MARKED_BAD, value=shown)
