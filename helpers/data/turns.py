"""Turns, tool calls and tools as any data set spells them -> messages.

A message is {"role", "content"}; an assistant's may also hold "reasoning_content" (its thought), "tool_calls" and
"train": False (read, not learned); a tool's holds what the tool answered.
"""

import re

from helpers.data.columns import Means, meaning, plain_name, refuse_marked
from helpers.data.reasons import LONGEST, Reason, Repair, Unusable
from helpers.data.values import from_json, in_words, missing, objects_in, without_nulls

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
RESULT_PART = re.compile(r"(input_|output_)?(text|image|audio|video)(_url|_file)?")
BY_CHANCE = 40  # characters; a shorter context may stand in a question by chance, as a letter does in every word
HALF = re.compile("[\ud800-\udfff]")  # half of a character (a lone surrogate), which no file can hold
TEXT_KEYS = {"type", "text", "annotations", "citations", "cache_control", "index"}


def message(role: str, content: object, **more) -> dict:
    return {"role": role, "content": content, **{name: value for name, value in more.items() if value}}


def with_context(question: str, context: str) -> str:
    """`question` with its context behind it, unless it stands there: as lines of its own, or too long for chance."""
    own_lines = f"\n{context.strip()}\n" in f"\n{question.strip()}\n"
    if own_lines or (len(context) >= BY_CHANCE and context in question):
        return question
    return f"{question}\n\n{context}" if question.strip() else context


def listed_turns(turns: object, repairs: list[Repair], tabular: bool = False) -> list[dict]:
    """A list of {"role", "content"} or {"from", "value"}, or of texts in turn, as messages."""
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
    name = plain_name(str(turn.get("role", turn.get("from", ""))))
    if name not in ROLES:
        raise Unusable(Reason.ROLE, value=name[:LONGEST] or "(none)")
    role, calls = ROLES[name], _calls_of(turn, name)
    content, thought = _content_of(turn, name, calls)
    if isinstance(content, (dict, list, bool)) and not missing(content):
        content = in_words(content, [] if role == "tool" else repairs, tabular)
    read = message(role, content, tool_calls=_tool_calls(calls, repairs, tabular), reasoning_content=thought)
    if role == "tool":
        named = {key: turn[key] for key in ("name", "tool_call_id") if isinstance(turn.get(key), str)}
        if HALF.search("".join(named.values())):
            raise Unusable(Reason.UNICODE)
        read |= named
    for key, value in turn.items():
        if (means := meaning(key)) and not missing(value):
            _attach(read, key, value, means)
    return read


def _calls_of(turn: dict, name: str) -> object:
    """The tool calls of a turn as it spells them; in the role of a call they are its text."""
    if name in CALL_ROLES:
        return from_json(turn.get("content", turn.get("value")))
    calls = from_json(turn.get("tool_calls"))
    return from_json(turn.get("function_call")) if missing(calls) else calls


def _content_of(turn: dict, name: str, calls: object) -> tuple[object, str]:
    """What a turn says beside its calls, whatever stands there, and the thought in it."""
    content = turn.get("content", turn.get("value"))
    if name in CALL_ROLES or (calls and missing(content)):
        return "", ""
    if isinstance(content, dict) and content.get("type") in TEXTS:
        content = [content]
    is_part = _is_part_of_a_result if ROLES[name] == "tool" else _is_part
    if isinstance(content, list) and any(map(is_part, content)):
        return _parts(content)
    return content, ""


def _attach(read: dict, key: str, value: object, means: Means) -> None:
    """Put a field that a turn brings along into its place."""
    if means is Means.THOUGHT:
        if not isinstance(value, str):
            raise Unusable(Reason.COLUMN_NOT_TEXT, value=key)
        read["reasoning_content"] = "\n\n".join(filter(None, [read.get("reasoning_content"), value]))
    elif means is Means.CONTEXT and read["role"] == "user" and {type(value), type(read["content"])} == {str}:
        read["content"] = with_context(read["content"], str(value))
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


def _is_part_of_a_result(value: object) -> bool:
    """True for a part of what a tool answers; any other list is its data: ["a", "b"], [{"type": "hotel"}]."""
    return isinstance(value, dict) and bool(RESULT_PART.fullmatch(str(value.get("type"))))


def _parts(parts: list) -> tuple[str, str]:
    """A content given in parts as (text, thought)."""
    texts, thoughts = [], []
    for part in parts:
        part = {"text": part} if isinstance(part, str) else part
        if not isinstance(part, dict):
            raise Unusable(Reason.NOT_TEXT)
        kind = part.get("type") or "text"
        thinks = kind in THOUGHTS
        text = part.get(kind, part.get("text")) if thinks else part.get("text")
        more = [] if thinks else [key for key in part if key not in TEXT_KEYS and not missing(part[key])]
        if not isinstance(text, str) or more or not (thinks or kind in TEXTS):
            unread = more[0] if more and kind == "text" and isinstance(text, str) else kind
            raise Unusable(Reason.PART, value=str(unread)[:LONGEST])
        (thoughts if thinks else texts).append(text)
    return "".join(texts), "\n\n".join(thoughts)


def _tool_calls(calls: object, repairs: list[Repair], tabular: bool) -> list[dict]:
    """Tool calls as [{"type": "function", "function": {"name", "arguments": {...}}}]."""
    if missing(calls):
        return []
    return [_call(call, repairs, tabular) for call in (calls if isinstance(calls, list) else [calls])]


def _call(call: object, repairs: list[Repair], tabular: bool) -> dict:
    call = call if isinstance(call, dict) else {}
    function = call.get("function", call)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Unusable(Reason.CALL_NAME)
    given = function.get("arguments", function.get("parameters"))
    arguments = from_json(given)
    if not missing(arguments) and not isinstance(arguments, dict):
        raise Unusable(Reason.CALL_ARGUMENTS)
    if tabular and arguments is given:  # a JSON text has no nulls but the author's
        arguments = without_nulls(arguments, repairs)
    known = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**known, "type": "function", "function": {"name": function["name"], "arguments": arguments or {}}}


def schema(tool: dict, repairs: list[Repair], tabular: bool) -> dict:
    """A tool as {"type": "function", "function": {...}}, without the nulls that a table (Arrow, Parquet) adds."""
    if tabular:
        defaults = [node["default"] for node in objects_in(tool) if "default" in node]
        explicit = all(default is None for default in defaults)  # else a table put the null beside a real default
        tool = without_nulls(tool, repairs, keep="default" if explicit else None)
    return tool if "function" in tool or "name" not in tool else {"type": "function", "function": tool}
