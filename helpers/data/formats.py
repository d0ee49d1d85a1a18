"""Any common format of instruction data -> messages (see `turns`): which columns hold what.

Nothing here raises on bad data: a row that cannot be used comes back with the reason.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from helpers.data.fields import as_number, as_text, beside, from_json, meaning, missing
from helpers.data.readers import Unread
from helpers.data.role_tokens import parse_text
from helpers.data.turns import ROLE_TOKEN, ROLES, Converted, listed_turns, message, tidy

__all__ = ["FORMATS", "ROLES", "ROLE_TOKEN", "Converted", "Format", "convert", "fields_read", "recognise"]

# format -> the sets of columns that it is recognised by, in order of preference; the last column is the answer's
FORMATS = {
    "preference": [
        *(
            (question, "chosen", "rejected")
            for question in "prompt question instruction conversations messages".split()
        ),
        ("chosen", "rejected"),
    ],
    "messages": [("messages",), ("conversations",), ("conversation",)],
    "open-korean-instructions": [("text",)],
    "instruction": [("instruction", "output"), ("instruction", "response"), ("instruction", "answer")],
    "prompt-completion": [("prompt", "completion"), ("prompt", "response")],
    "question-answer": [
        *(
            ("q", "a"),
            ("question", "answer"),
            ("question", "answers"),
            ("questions", "answers"),
            ("question", "response"),
        ),
        *(("query", "response"), ("problem", "solution"), ("input", "output"), ("질문", "답변")),
    ],
}
PAIR = "a preference pair: the chosen answer is kept, the rejected one left out"


class Format(NamedTuple):
    """How the rows of a data set are read."""

    name: str  # a key of FORMATS
    columns: tuple[str, ...]  # as the data set spells them; () when no format fits


def recognise(rows: list[dict], wanted: str = "auto") -> Format:
    """The format of a data set, by the columns of its first `rows`, or `wanted` checked against them.

    Raises ValueError naming the columns found and the formats known when nothing fits, or two columns of one name.
    """
    found = list(dict.fromkeys(str(key) for row in rows if isinstance(row, dict) for key in row))
    spelled = {key.strip().lower(): key for key in found}
    if wanted != "auto" and wanted not in FORMATS:
        raise ValueError(f"dataset_format={wanted!r} is not known: use auto or one of {', '.join(FORMATS)}.")
    for name in FORMATS if wanted == "auto" else [wanted]:
        for columns in FORMATS[name]:
            if all(column in spelled for column in columns) and (
                name != "preference" or wanted == name or _pairs(rows, spelled)
            ):
                names = tuple(spelled[column] for column in columns)
                if wanted != "auto" or name != "open-korean-instructions" or _has_role_tokens(rows, names[0]):
                    return Format(name, _once(names, found))
    if rows and not found:
        why = getattr(rows[0], "why", Unread.why)
        raise ValueError(
            f"None of the first rows can be read ({why}): write one object in each line, without a comma behind it, or one "
            f"list of objects. The first row: {str(rows[0]).strip()[:60]!r}."
        )
    known = "; ".join(f"{name}: {' or '.join('+'.join(c) for c in sets)}" for name, sets in FORMATS.items())
    raise ValueError(
        f"No known format{'' if wanted == 'auto' else f' {wanted!r}'} in the columns {', '.join(found) or '(none)'}. "
        f"Known are {known} (text needs <usr> and <bot>). Rename your columns, or set dataset_format."
    )


def convert(row: dict, form: Format) -> Converted:
    """One row as messages. Never raises: what cannot be used comes back with a reason."""
    if not isinstance(row, dict):
        return Converted([], getattr(row, "why", Unread.why))
    lacking = [column for column in form.columns if column not in row]
    if lacking:
        return Converted([], f"without the column {lacking[0]}")
    found = beside(row, form.columns, one_is_good=form.name == "prompt-completion")
    if isinstance(found, str):
        return Converted([], found)
    values = [row[column] for column in form.columns]
    tools = found.tools if isinstance(found.tools, list) else [] if found.tools is None else [None]
    if not all(isinstance(tool, dict) for tool in tools):
        return Converted([], "the tools are not a list of JSON schemas")
    if form.name == "open-korean-instructions":
        if not isinstance(values[0], str):
            return Converted([], "the text is missing")
        said = parse_text(values[0], str(row.get("source", "")))
    elif form.name == "messages":
        said = listed_turns(values[0])
    elif form.name == "preference":
        said = _preferred(values)
    else:
        said = _asked(*values)
    repairs = ()
    if isinstance(said, tuple):  # turns and what was mended in them
        said, repairs = said
    said = said if isinstance(said, str) else _with_beside(said, found)
    return Converted([], said) if isinstance(said, str) else tidy(said, repairs, tuple(map(_schema, tools)))


def fields_read(form: Format, columns: Counter, turns: Counter) -> list[dict]:
    """What is read and what is not, for the reader: column or field, read as, rows (or turns) that hold it."""
    parts = dict.fromkeys(form.columns, "the conversation")
    if len(form.columns) > 1:
        parts = dict(zip(form.columns, ["question"] * (len(form.columns) - 1) + ["answer"], strict=True))
    if form.name == "preference":
        parts |= {form.columns[-2]: "answer", form.columns[-1]: "left out: the worse answer"}
    read = [
        {"field": name, "read as": parts.get(name) or meaning(name) or "not read", "rows": count}
        for name, count in columns.items()
    ]
    known = {"role", "from", "content", "value", "tool_calls", "function_call", "tool_call_id", "name", "id"}
    for name, count in turns.items():
        told = meaning(name) or ("the turn" if name in known else "not read")
        read.append({"field": f"{form.columns[0]}[].{name}", "read as": told, "rows": count})
    return read


def _asked(question: object, answer: object) -> list[dict] | str | tuple:
    """Turns from a question and an answer: two texts, two lists of texts, or TRL's two lists of messages."""
    question, answer = from_json(question), from_json(answer)
    if isinstance(answer, dict) and isinstance(answer.get("text", answer.get("input_text")), list):  # SQuAD, CoQA
        answer = answer.get("text", answer.get("input_text"))
        answer = answer[:1] if isinstance(question, str) else answer
    if isinstance(question, list) and isinstance(answer, list) and any(isinstance(q, dict) for q in question):
        return listed_turns(question + answer)
    if isinstance(question, list) or isinstance(answer, list):  # several questions in one row
        asked = question if isinstance(question, list) else [question]
        given = answer if isinstance(answer, list) else [answer]
        if len(asked) != len(given) or not asked:
            return f"{len(asked)} questions and {len(given)} answers in one row"
        pairs = list(zip(asked, given, strict=True))
    else:
        pairs = [(question, answer)]
    return [
        message(role, _value(text)) for pair in pairs for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _preferred(values: list) -> tuple[list[dict], tuple[str, ...]] | str:
    """Turns of a preference pair: the question, where it has a column of its own, and the chosen answer."""
    *question, chosen, rejected = map(from_json, values)
    if isinstance(chosen, dict):
        chosen = [chosen]
    if isinstance(chosen, str) and not question:  # "\n\nHuman: ... \n\nAssistant: ...", as hh-rlhf writes
        marked = "\n\n" + chosen.lstrip()
        for ours, theirs in (("user", "Human"), ("assistant", "Assistant")):
            marked = marked.replace(f"\n\n{theirs}:", f"\0{ours}\1")
        parts = [part.partition("\1") for part in marked.split("\0")]
        turns = [message(role, text) for role, mark, text in parts if mark]
        return (turns, (PAIR,)) if turns else "the chosen answer has no question"
    turns = listed_turns(chosen) if isinstance(chosen, list) else [message("assistant", _value(chosen))]
    if question and not isinstance(turns, str):
        whole = question[0] if isinstance(question[0], list) else None
        asked = listed_turns(whole) if whole is not None else [message("user", _value(question[0]))]
        if isinstance(asked, str):
            return asked
        if turns[: len(asked)] != asked and not (len(turns) > 1 and turns[0]["content"] == asked[0]["content"]):
            turns = asked + turns
    return turns if isinstance(turns, str) else (turns, (PAIR,))


def _with_beside(turns: list[dict], found) -> list[dict] | str:
    """`turns` with the columns beside them in their places."""
    if found.context:
        first = next((turn for turn in turns if turn["role"] == "user"), None)
        if first is None or not isinstance(first["content"], str):
            return "a turn is not text"
        if found.context not in first["content"]:
            first["content"] = f"{first['content']}\n\n{found.context}" if first["content"].strip() else found.context
    if found.thought:
        answers = [turn for turn in turns if turn["role"] == "assistant"]
        if answers and not answers[-1].get("reasoning_content"):
            answers[-1]["reasoning_content"] = found.thought
    if found.history:
        earlier = []
        for pair in found.history:
            if isinstance(pair, (list, tuple)):
                if len(pair) != 2:
                    return "the history is not made of questions and answers"
                earlier += _asked(*pair)
            else:
                earlier.append(pair)
        if any(not isinstance(turn, dict) for turn in earlier) or any(
            "role" not in t or "content" not in t for t in earlier
        ):
            earlier = listed_turns(earlier)
        if isinstance(earlier, str):
            return "the history is not made of questions and answers"
        turns = [*earlier, *turns]
    if found.system and not any(turn["role"] == "system" and turn["content"] == found.system for turn in turns):
        turns = [message("system", found.system), *turns]
    return turns


def _value(value: object) -> object:
    """A number as text; everything else as it is, to be refused by `tidy` when it is no text."""
    return (
        as_text(value) if not isinstance(value, list) and as_number(value) is not None and not missing(value) else value
    )


def _schema(tool: dict) -> dict:
    """A tool as {"type": "function", "function": {...}}, also when only the inner part is given."""
    return tool if "function" in tool or "name" not in tool else {"type": "function", "function": tool}


def _once(names: tuple[str, ...], found: list[str]) -> tuple[str, ...]:
    for name in names:
        if len(same := [key for key in found if key.strip().lower() == name.strip().lower()]) > 1:
            raise ValueError(f"The columns {' and '.join(map(repr, same))} have one name: rename or remove one.")
    return names


def _pairs(rows: list[dict], spelled: dict) -> bool:
    """True when "rejected" holds answers; a column of true and false is a mark instead."""
    return any(isinstance(row, dict) and isinstance(row.get(spelled["rejected"]), (str, list, dict)) for row in rows)


def _has_role_tokens(rows: list[dict], column: str) -> bool:
    return any(isinstance(row, dict) and ROLE_TOKEN.search(str(row.get(column))) for row in rows)
