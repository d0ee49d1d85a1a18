"""One turn as any data set spells it -> a message.

A message is {"role", "content"}; an assistant's may also hold "reasoning_content" (its thought), "tool_calls" and
"train": False (read, not learned); a tool's holds what the tool answered.
"""

from __future__ import annotations

from helpers.data.columns import Means, meaning, plain_name, refuse_marked
from helpers.data.reasons import LONGEST, Reason, Repair, Unusable
from helpers.data.tools import tool_calls
from helpers.data.values import from_json, in_words, missing

ROLES = {
    **dict.fromkeys(("user", "human", "usr", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatgpt", "model"), "assistant"),
    **dict.fromkeys(("system", "sys", "input", "developer"), "system"),  # open-korean-instructions calls it "input"
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "assistant"),  # the text is the call, as JSON
}
CALL_ROLES = ("function_call", "tool_call")
# Fields that belong to the whole conversation, or complete a turn by what cannot be read
WHOLE = (Means.NO_TEXT, Means.SYSTEM, Means.HISTORY, Means.TOOLS, Means.CONTEXT)
THOUGHTS, TEXTS = ("thinking", "reasoning"), ("text", "input_text", "output_text")  # types of a part of a content
TEXT_KEYS = {"type", "text", "annotations", "citations", "cache_control", "index"}


def message(role: str, content: object, **more) -> dict:
    return {"role": role, "content": content, **{name: value for name, value in more.items() if value}}


def listed_turns(turns: object, repairs: list[Repair], tabular: bool = False) -> list[dict]:
    """A list of {"role", "content"} or {"from", "value"}, or of texts in turn, as messages (`tabular`: see `tools`)."""
    turns = from_json(turns)
    if not isinstance(turns, (list, tuple)):
        raise Unusable(Reason.NO_LIST)
    kinds = set(map(type, turns))
    if kinds == {str}:
        return [message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns)]
    if not kinds <= {dict}:
        raise Unusable(Reason.NO_LIST)
    return [_turn(turn, repairs, tabular) for turn in turns]


def _turn(turn: dict, repairs: list[Repair], tabular: bool) -> dict:
    name = plain_name(turn.get("role", turn.get("from", "")))
    if name not in ROLES:
        raise Unusable(Reason.ROLE, value=name[:LONGEST] or "(none)")
    role, content = ROLES[name], turn.get("content", turn.get("value"))
    calls, thought = _spelled_calls(name, turn, content), ""
    if name in CALL_ROLES or (calls and missing(content)):
        content = ""
    if isinstance(content, dict) and content.get("type") in TEXTS:
        content = [content]
    if isinstance(content, list) and any(map(_is_part, content)):
        content, thought = _parts(content)
    if isinstance(content, (dict, list, bool)) and not missing(content):
        content = in_words(content, [] if role == "tool" else repairs, tabular)
    read = message(role, content, tool_calls=tool_calls(calls, repairs, tabular), reasoning_content=thought)
    if role == "tool":
        read |= {key: turn[key] for key in ("name", "tool_call_id") if isinstance(turn.get(key), str)}
    for key, value in turn.items():
        means = meaning(key)
        if means is not None and not missing(value):
            _attach(read, key, value, means)
    return read


def _spelled_calls(name: str, turn: dict, content: object) -> object:
    """The tool calls of a turn as they are spelled: its text, `tool_calls`, or the older `function_call`."""
    if name in CALL_ROLES:
        return from_json(content)
    calls = from_json(turn.get("tool_calls"))
    return from_json(turn.get("function_call")) if missing(calls) else calls


def _attach(read: dict, key: str, value: object, means: Means) -> None:
    """Put a field that a turn brings along into its place."""
    if means is Means.THOUGHT:
        if not isinstance(value, str):
            raise Unusable(Reason.COLUMN_NOT_TEXT, value=key)
        read["reasoning_content"] = "\n\n".join(filter(None, [read.get("reasoning_content"), value]))
    elif means is Means.CONTEXT and read["role"] == "user" and {type(value), type(read["content"])} == {str}:
        if str(value) not in read["content"]:
            read["content"] += f"\n\n{value}"
    elif means in WHOLE:
        raise Unusable(Reason.TURN_FIELD, value=key)
    elif read["role"] == "assistant":
        try:
            refuse_marked(key, value)
        except Unusable as unfit:
            if unfit.reason is Reason.WEIGHT:
                raise
            read["train"] = False


def _is_part(value: object) -> bool:
    """True for a part of a content: a text, or an object that says of which type it is."""
    return isinstance(value, str) or (isinstance(value, dict) and ("type" in value or "text" in value))


def _parts(parts: list) -> tuple[str, str]:
    """A content given in parts as (text, thought)."""
    texts, thoughts = [], []
    for part in parts:
        part = {"text": part} if isinstance(part, str) else part
        if not isinstance(part, dict):
            raise Unusable(Reason.NOT_TEXT)
        kind = part.get("type") or "text"
        if kind in THOUGHTS:
            thoughts.append(_text_of(part, kind, part.get(kind, part.get("text"))))
            continue
        texts.append(_text_of(part, kind, part.get("text")))
        more = [key for key in part if key not in TEXT_KEYS and not missing(part[key])]
        if kind not in TEXTS or more:
            raise Unusable(Reason.PART, value=str(more[0] if more and kind == "text" else kind)[:LONGEST])
    return "".join(texts), "\n\n".join(thoughts)


def _text_of(part: dict, kind: object, text: object) -> str:
    if not isinstance(text, str):
        raise Unusable(Reason.PART, value=str(kind)[:LONGEST])
    return text
