"""Any common format of instruction data -> messages: a list of {"role": "system" | "user" | "assistant", "content": text}.

A converted conversation is a system turn or none, then user and assistant in turn, ending with the assistant.
Nothing here raises on bad data: a row that cannot be used comes back with the reason.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

ROLES = {
    **dict.fromkeys(("user", "human", "usr", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatgpt", "model"), "assistant"),
    **dict.fromkeys(("system", "sys", "input"), "system"),  # open-korean-instructions calls the system turn "input"
}
ROLE_TOKEN = re.compile(r"<(usr|bot|sys)>")
LINE_START = re.compile(r"^[ \t]*<(usr|bot|sys)>", re.M)

# format -> the sets of columns that it is recognised by, in order of preference; the last column is the answer's
FORMATS = {
    "messages": [("messages",), ("conversations",), ("conversation",)],
    "open-korean-instructions": [("text",)],
    "instruction": [("instruction", "output"), ("instruction", "response")],
    "prompt-completion": [("prompt", "completion")],
    "question-answer": [("q", "a"), ("question", "answer"), ("질문", "답변")],
}


class Format(NamedTuple):
    """How the rows of a data set are read."""

    name: str  # a key of FORMATS
    columns: tuple[str, ...]  # as the data set spells them; () when no format fits


class Converted(NamedTuple):
    """One row as messages; [] when it cannot be used, and `dropped` says why."""

    messages: list[dict]
    dropped: str = ""
    repairs: tuple[str, ...] = ()


def recognise(rows: list[dict], wanted: str = "auto") -> Format:
    """The format of a data set, by the columns of its first `rows`, or `wanted` checked against them.

    Raises ValueError naming the columns found and the formats known when nothing fits.
    """
    found = list(dict.fromkeys(str(key) for row in rows if isinstance(row, dict) for key in row))
    spelled = {key.lower(): key for key in found}
    if wanted != "auto" and wanted not in FORMATS:
        raise ValueError(f"dataset_format={wanted!r} is not known: use auto or one of {', '.join(FORMATS)}.")
    for name in FORMATS if wanted == "auto" else [wanted]:
        for columns in FORMATS[name]:
            if all(column in spelled for column in columns):
                names = tuple(spelled[column] for column in columns)
                if wanted != "auto" or name != "open-korean-instructions" or _has_role_tokens(rows, names[0]):
                    return Format(name, names)
    known = "; ".join(f"{name}: {' or '.join('+'.join(c) for c in sets)}" for name, sets in FORMATS.items())
    raise ValueError(
        f"No known format{'' if wanted == 'auto' else f' {wanted!r}'} in the columns {', '.join(found) or '(none)'}. "
        f"Known are {known} (text needs <usr> and <bot>). Rename your columns, or set dataset_format."
    )


def convert(row: dict, form: Format) -> Converted:
    """One row as messages. Never raises: what cannot be used comes back with a reason."""
    if not isinstance(row, dict):
        return Converted([], "not a JSON object, or not one value per column")
    values = [row.get(column) for column in form.columns]
    if form.name == "open-korean-instructions":
        if not isinstance(values[0], str):
            return Converted([], "the text is missing")
        return _parse_text(values[0], str(row.get("source", "")))
    if form.name == "messages":
        turns = _listed_turns(values[0])
    else:
        question, answer = values
        if isinstance(question, list) and isinstance(answer, list):  # TRL's conversational prompt and completion
            turns = _listed_turns(question + answer)
        else:
            extra = (row.get("input") or row.get("context")) if form.name == "instruction" else None
            question = f"{question}\n\n{extra}" if extra and isinstance(question, str) else question
            turns = [("user", question), ("assistant", answer)]
            if isinstance(row.get("system"), str):
                turns.insert(0, ("system", row["system"]))
    return Converted([], turns) if isinstance(turns, str) else tidy(turns)


def tidy(turns: list[tuple[str, object]], repairs: tuple[str, ...] = ()) -> Converted:
    """Turns (role, text) as a valid conversation: repaired where the meaning is plain, else dropped with a reason."""
    said: list[list[str]] = []  # [role, text], roles alternating but for system
    repairs, waiting = list(repairs), ""
    for role, text in turns:
        if not isinstance(text, str):
            return Converted([], "a turn is not text")
        clean = text.replace("\r\n", "\n").strip()
        if not unicodedata.is_normalized("NFC", clean):  # Korean letters taken apart cost three tokens for one
            clean = unicodedata.normalize("NFC", clean)
            repairs.append("taken-apart letters (NFD) put together")
        if role == "system":
            if not clean:
                continue
            if not said:
                said.append([role, clean])
            elif said[-1][0] == "assistant":
                waiting = f"{waiting}\n\n{clean}".strip()
                repairs.append("a later system turn put into the user's turn")
            else:
                said[-1][1] += f"\n\n{clean}"
                repairs.append("a later system turn put into the user's turn")
            continue
        if not clean:
            return Converted([], "an empty turn")
        if waiting and role == "user":
            clean, waiting = f"{waiting}\n\n{clean}", ""
        if said and said[-1][0] == role:
            said[-1][1] += f"\n\n{clean}"
            repairs.append("two turns of one speaker joined")
        else:
            said.append([role, clean])
    return _checked(said, repairs)


def _checked(said: list[list[str]], repairs: list[str]) -> Converted:
    """The last step of `tidy`: begin with the user, end with the assistant, no role token left."""
    head = [said.pop(0)] if said and said[0][0] == "system" else []
    if said and said[0][0] == "assistant":
        said.pop(0)
        repairs.append("answer before the first question cut off")
    if said and said[-1][0] == "user":
        said.pop()
        repairs.append("question without an answer cut off")
    if not said:
        return Converted([], "no question followed by an answer")
    messages = [{"role": role, "content": text} for role, text in head + said]
    if any(ROLE_TOKEN.search(message["content"]) for message in messages):
        return Converted([], "a role token inside the text")
    try:
        "".join(text for _, text in head + said).encode()
    except UnicodeEncodeError:  # half a character (a lone surrogate), which no file can hold
        return Converted([], "broken Unicode")
    return Converted(messages, "", tuple(dict.fromkeys(repairs)))


def _parse_text(text: str, source: str) -> Converted:
    """`<usr> ...\\n<bot> ...` of open-korean-instructions, with the traps that its sources left in it."""
    repairs, text = [], text.replace("\r\n", "\n")
    if "korquad" in source:  # its maker replaced "A: " by "<usr> " and "B: " by "<bot> " everywhere, and missed "A :"
        if re.search(r"^[C-Z] ?: ", text, re.M):
            return Converted([], "a third speaker")
        restored = re.sub(r"(?<=\S)<usr> ", "A: ", re.sub(r"(?<=\S)<bot> ", "B: ", text))
        marked = re.sub(r"^A ?: ?", "<usr> ", re.sub(r"^B ?: ?", "<bot> ", restored, flags=re.M), flags=re.M)
        repairs += ["'DN<usr> ' put back to 'DNA: '"] * (restored != text)
        repairs += ["'A:' and 'B:' read as roles"] * (marked != restored)
        text = marked
    elif "<bot>" in text and not re.search(r"^[ \t]*<bot>", text, re.M):
        text, count = re.subn(r"\\?n(?=<(?:usr|bot|sys)>)", "\n", text)
        repairs += ["'n<bot>' read as a new line and <bot>"] * bool(count)
    before, *parts = LINE_START.split(text)
    if not parts:
        return Converted([], "no role token at the start of a line")
    if before.strip():
        return Converted([], "text before the first role token")
    return tidy([(ROLES[role], said) for role, said in zip(parts[::2], parts[1::2], strict=True)], tuple(repairs))


def _listed_turns(turns: object) -> list[tuple[str, object]] | str:
    """A list of {"role", "content"} or {"from", "value"} as (role, text); the reason when it cannot be read."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return "the conversation is not a list of turns"
    read = []
    for turn in turns:
        name = str(turn.get("role", turn.get("from", ""))).strip().lower()
        if name not in ROLES:
            return f"a role that is not trained: {name[:40] or '(none)'}"
        text = turn.get("content", turn.get("value"))
        if isinstance(text, list) and all(isinstance(part, dict) and "text" in part for part in text):
            text = "".join(str(part["text"]) for part in text)
        read.append((ROLES[name], text))
    return read


def _has_role_tokens(rows: list[dict], column: str) -> bool:
    return any(isinstance(row, dict) and ROLE_TOKEN.search(str(row.get(column))) for row in rows)
