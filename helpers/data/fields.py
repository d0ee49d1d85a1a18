"""Columns beside the question and the answer: which are read and as what, which forbid a row, which are not read.

A column that is not known is not read, and 03 lists it. One that is known to reverse the meaning (label: false) or to
complete it (choices, images) is honoured, or its row is dropped with the reason.
"""

from __future__ import annotations

import ast
import functools
import json
import math
import re
from typing import NamedTuple

READ_AS = {
    "system turn": "system system_prompt system_message systemprompt sys_prompt",
    "earlier turns": "history chat_history conversation_history dialog_history dialogue_history previous_turns "
    "previous_messages past_messages",
    "joined to the question": "input inputs context contexts passage passages paragraph document documents article "
    "knowledge background table 지문 문맥 본문 배경",
    "thought before the answer": "reasoning_content reasoning thinking thought thoughts complex_cot cot chain_of_thought",
    "tools": "tools functions",
    "is the answer good?": "label correct is_correct accepted approved good is_good preferred thumbs_up valid is_valid",
    "is the answer bad?": "rejected is_rejected deleted is_deleted bad is_bad wrong incorrect thumbs_down",
    "how good is the answer?": "rating score reward votes upvotes feedback thumbs vote verdict quality review 평가",
    "is it learned?": "weight sample_weight loss_weight train training loss",
    "a part that is no text": "image images audio audios video videos attachment attachments choices options",
    "name of the source": "source",
}
MEANING = {name: meaning for meaning, names in READ_AS.items() for name in names.split()}
CHOICE = re.compile(r"(?:option|choice|opt|답지|보기)s?[ _-]?[a-e1-5]")  # one of several columns of a multiple choice
LETTERS = set("abcd")
BAD_WORDS = "bad wrong incorrect rejected reject negative poor dislike down thumbs_down thumbsdown 👎 나쁨 불량".split()
FALSE, TRUE = ("false",), ("true",)  # as a CSV file writes them; yes and no may be the names of classes


class Beside(NamedTuple):
    """What stands beside the question and the answer of one row."""

    system: str = ""
    history: tuple = ()  # as the data set spells it
    context: str = ""
    thought: str = ""
    tools: object = None


def meaning(column: object) -> str:
    """What a column of this name is read as; "" when it is not read."""
    return _meaning(column) if isinstance(column, str) else ""


@functools.lru_cache(maxsize=4096)
def _meaning(column: str) -> str:
    return MEANING.get(column.strip().lower().replace(" ", "_"), "")


def beside(row: dict, columns: tuple[str, ...], one_is_good: bool = False) -> Beside | str:
    """The columns of `row` other than `columns`, or the reason why the row cannot be used.

    `one_is_good`: a label of 0 or 1 is a judgement too, as in TRL's prompt, completion, label; elsewhere it is a class.
    """
    found = {}
    if choices := _choices(tuple(row), columns):
        return f"the choices {', '.join(choices)} belong to the row and cannot be read"
    for column, value in row.items():
        means = meaning(column)
        if not means or column in columns or missing(value):
            continue
        if means in ("system turn", "joined to the question", "thought before the answer"):
            text = as_text(value)
            if text is None:
                return f"{column} is not text"
            found[means] = f"{found[means]}\n\n{text}" if means in found else text
        elif means in ("earlier turns", "tools"):
            found[means] = from_json(value)
        elif means == "a part that is no text":
            return f"{column} belong{'' if column.endswith('s') else 's'} to the row and cannot be read"
        elif why := unfit(column, value, one_is_good):
            return why
    history = found.get("earlier turns", ())
    if not isinstance(history, (list, tuple)):
        return "the history is not a list of turns"
    texts = [found.get(name, "") for name in ("system turn", "joined to the question", "thought before the answer")]
    return Beside(texts[0], tuple(history), texts[1], texts[2], found.get("tools"))


@functools.lru_cache(maxsize=4096)
def _choices(names: tuple, columns: tuple[str, ...]) -> list[str]:
    """The columns of a multiple choice, one per choice: A, B, C, D, or option_1, option_2 and so on."""
    plain = {str(name): str(name).strip().lower() for name in names if name not in columns}
    found = [column for column, name in plain.items() if CHOICE.fullmatch(name)]
    letters = [column for column, name in plain.items() if name in LETTERS]
    return letters if len(letters) == len(LETTERS) else found if len(found) > 1 else []


def unfit(name: str, value: object, one_is_good: bool = False) -> str:
    """Why an answer that `name`: `value` stands beside must not be learned; "" when it may."""
    means, plain = meaning(name), value.strip().lower() if isinstance(value, str) else value
    told = f"marked as bad ({name}: {str(value)[:20]})"
    yes, no = plain is True or plain in TRUE, plain is False or plain in FALSE
    if means == "is the answer good?":
        number = as_number(plain)
        return told if no or (number is not None and (number < 0 or (one_is_good and number == 0))) else ""
    if means == "is the answer bad?":
        return told if yes else ""
    if means == "how good is the answer?":
        number = as_number(plain)
        return told if no or plain in BAD_WORDS or (number is not None and number < 0) else ""
    if means == "is it learned?":
        number = as_number(plain)
        if no or number == 0:
            return f"not to be learned ({name}: {str(value)[:20]})"
        if not yes and number != 1:
            return f"a {name} other than 0 and 1, which the loss does not know"
    return ""


def missing(value: object) -> bool:
    """True for None, NaN, an empty text, an empty list: there is nothing to read."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (
        isinstance(value, (str, list, tuple, dict)) and not (value.strip() if isinstance(value, str) else value)
    )


def as_text(value: object) -> str | None:
    """Text and numbers as text, a list of texts as paragraphs; None for all that is no text (None, NaN, dict, true)."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "\n\n".join(value)
    return None


def as_number(value: object) -> float | None:
    """A number, or a text that is one; None for everything else, true and false among it."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def from_json(value: object) -> object:
    """A list or an object that a CSV file holds as text (JSON, or as Python prints it); all else as it is."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value
