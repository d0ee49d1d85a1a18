"""Tool calls and the schemas of tools in any spelling, without the nulls that a table (Arrow, Parquet) adds to them."""

from __future__ import annotations

from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.values import from_json, missing


def tool_calls(calls: object, repairs: list[Repair], tabular: bool) -> list[dict]:
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
    """A tool as {"type": "function", "function": {...}}, also when only the inner part is given."""
    if tabular:
        defaults = [node["default"] for node in _nodes(tool) if "default" in node]
        explicit = all(default is None for default in defaults)  # else a table put the null beside a real default
        tool = without_nulls(tool, repairs, keep="default" if explicit else None)
    return tool if "function" in tool or "name" not in tool else {"type": "function", "function": tool}


def without_nulls(value, repairs: list[Repair], keep: str | None = None):
    """`value` without the fields that are null, but for `keep`: a table gives every object the fields of all."""
    if isinstance(value, list):
        return [without_nulls(item, repairs, keep) for item in value]
    if not isinstance(value, dict):
        return value
    real = {name: item for name, item in value.items() if item is not None or name == keep}
    if len(real) < len(value):
        repairs.append(Repair.NULLS)
    return {name: without_nulls(item, repairs, keep) for name, item in real.items()}


def _nodes(value: object) -> list[dict]:
    """Every object inside of `value`."""
    if isinstance(value, list):
        return [node for item in value for node in _nodes(item)]
    return [value, *_nodes([*value.values()])] if isinstance(value, dict) else []


def is_tabular(rows: list[dict]) -> bool:
    """True when the nulls of tools and calls come from a table: nobody writes such nulls by hand.

    A turn or a property is null, or calls of two functions name the same arguments, of which some are null.
    """
    for node in _nodes([value for row in rows for value in map(from_json, row.values()) if isinstance(value, list)]):
        properties = node.get("properties")
        if node.get("tool_calls", ()) is None or (isinstance(properties, dict) and None in properties.values()):
            return True
    arguments: dict[str, set] = {}
    nulls = False
    for node in _nodes([list(row.values()) for row in rows]):
        if isinstance(node.get("name"), str) and isinstance(node.get("arguments"), dict):
            arguments.setdefault(node["name"], set()).update(node["arguments"])
            nulls = nulls or None in node["arguments"].values()
    return nulls and len(arguments) > 1 and len(set(map(frozenset, arguments.values()))) == 1
