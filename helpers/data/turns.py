"""One turn as any data set spells it -> a message.

A message is {"role", "content"}; an assistant's may also hold "reasoning_content" (its thought), "tool_calls" and
"train": False (read, not learned); a tool's holds what the tool answered.
"""

from __future__ import annotations

import json

from helpers.data.columns import Means, from_json, meaning, missing, plain_name, refuse_marked, short
from helpers.data.reasons import Reason, Repair, Unusable

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
TEXT_KEYS = {"type", "text", "annotations", "citations", "cache_control", "index"}  # of a part of a content


def message(role: str, content: object, **more) -> dict:
    return {"role": role, "content": content, **{name: value for name, value in more.items() if value}}


def listed_turns(turns: object, repairs: list[Repair], tabular: bool = False) -> list[dict]:
    """A list of {"role", "content"} or {"from", "value"}, or of texts in turn, as messages; see `without_nulls` for
    `tabular`."""
    turns = from_json(turns)
    if not isinstance(turns, (list, tuple)):
        raise Unusable(Reason.NO_LIST)
    if turns and all(isinstance(turn, str) for turn in turns):
        return [message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns)]
    if not all(isinstance(turn, dict) for turn in turns):
        raise Unusable(Reason.NO_LIST)
    return [_turn(turn, repairs, tabular) for turn in turns]


def _turn(turn: dict, repairs: list[Repair], tabular: bool) -> dict:
    name = plain_name(turn.get("role", turn.get("from", "")))
    if name not in ROLES:
        raise Unusable(Reason.ROLE, value=short(name) or "(none)")
    role, content = ROLES[name], turn.get("content", turn.get("value"))
    calls, thought = _called(name, turn, content), ""
    if name in CALL_ROLES or (calls and missing(content)):
        content = ""
    if isinstance(content, (list, tuple)):
        content, thought = _parts(content)
    if role == "tool" and isinstance(content, dict):
        content = json.dumps(content, ensure_ascii=False)
    read = message(role, content, tool_calls=_calls(calls, repairs, tabular), reasoning_content=thought)
    if role == "tool":
        read |= {key: turn[key] for key in ("name", "tool_call_id") if isinstance(turn.get(key), str)}
    for key, value in turn.items():
        means = meaning(key)
        if means is not None and not missing(value):
            _attach(read, key, value, means)
    return read


def _called(name: str, turn: dict, content: object) -> object:
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
        earlier = read.get("reasoning_content")
        read["reasoning_content"] = f"{earlier}\n\n{value}" if earlier else value
    elif means is Means.CONTEXT and read["role"] == "user" and isinstance(value, str) and _is_text(read):
        if value not in read["content"]:
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


def _is_text(read: dict) -> bool:
    return isinstance(read["content"], str)


def _calls(calls: object, repairs: list[Repair], tabular: bool) -> list[dict]:
    """Tool calls in any spelling as [{"type": "function", "function": {"name", "arguments": {...}}}]."""
    if missing(calls):
        return []
    read = []
    for call in calls if isinstance(calls, list) else [calls]:
        inner = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise Unusable(Reason.CALL_NAME)
        given = inner.get("arguments", inner.get("parameters"))
        arguments = from_json(given)
        if not missing(arguments) and not isinstance(arguments, dict):
            raise Unusable(Reason.CALL_ARGUMENTS)
        if tabular and arguments is given:  # a JSON text has no nulls but the author's
            arguments = without_nulls(arguments, repairs)
        known = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        read.append({**known, "type": "function", "function": {"name": inner["name"], "arguments": arguments or {}}})
    return read


def schema(tool: dict, repairs: list[Repair], tabular: bool) -> dict:
    """A tool as {"type": "function", "function": {...}}, also when only the inner part is given."""
    if tabular:
        defaults = [node["default"] for node in _nodes(tool) if "default" in node]
        explicit = all(default is None for default in defaults)  # else a table put the null beside a real default
        tool = without_nulls(tool, repairs, keep=("default",) if explicit else ())
    return tool if "function" in tool or "name" not in tool else {"type": "function", "function": tool}


def without_nulls(value: object, repairs: list[Repair], keep: tuple[str, ...] = ()) -> object:
    """`value` without the fields that are null: a table (Arrow, Parquet) gives every object the fields of all."""
    if isinstance(value, list):
        return [without_nulls(item, repairs, keep) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {
        name: without_nulls(item, repairs, keep) for name, item in value.items() if item is not None or name in keep
    }
    if len(kept) < len(value):
        repairs.append(Repair.NULLS)
    return kept


def _nodes(value: object) -> list[dict]:
    """Every object inside of `value`."""
    if isinstance(value, list):
        return [node for item in value for node in _nodes(item)]
    return [value, *(node for item in value.values() for node in _nodes(item))] if isinstance(value, dict) else []


def is_tabular(rows: list[dict]) -> bool:
    """True when the nulls of tools and calls come from a table: a turn has null fields, or two tools have the same
    fields."""
    for row in rows:
        lists = [from_json(value) for value in row.values() if isinstance(value, (list, str))]
        turns = [turn for value in lists if isinstance(value, list) for turn in value if isinstance(turn, dict)]
        if any("tool_calls" in turn and turn["tool_calls"] is None for turn in turns):
            return True
        properties = [node["properties"] for node in _nodes(turns) if isinstance(node.get("properties"), dict)]
        if any(value is None for fields in properties for value in fields.values()):
            return True
    return _same_arguments(rows)


def _same_arguments(rows: list[dict]) -> bool:
    """True when calls of two functions name the same arguments, and some are null: nobody writes so by hand."""
    fields: dict[str, set] = {}
    nulls = False
    for node in _nodes([list(row.values()) for row in rows]):
        if isinstance(node.get("name"), str) and isinstance(node.get("arguments"), dict):
            fields.setdefault(node["name"], set()).update(node["arguments"])
            nulls = nulls or None in node["arguments"].values()
    return nulls and len(fields) > 1 and len(set(map(frozenset, fields.values()))) == 1


def _parts(parts: list) -> tuple[str, str]:
    """A content given in parts as (text, thought)."""
    texts, thoughts = [], []
    for part in parts:
        part = {"text": part} if isinstance(part, str) else part
        if not isinstance(part, dict):
            raise Unusable(Reason.NOT_TEXT)
        kind = part.get("type") or "text"
        text = part.get(kind, part.get("text")) if kind in ("thinking", "reasoning") else part.get("text")
        if not isinstance(text, str):
            raise Unusable(Reason.PART, value=short(kind))
        if kind in ("thinking", "reasoning"):
            thoughts.append(text)
            continue
        more = [key for key in part if key not in TEXT_KEYS and not missing(part[key])]
        if kind not in ("text", "input_text", "output_text") or more:
            raise Unusable(Reason.PART, value=short(more[0] if kind in ("text",) and more else kind))
        texts.append(text)
    return "".join(texts), "\n\n".join(thoughts)
