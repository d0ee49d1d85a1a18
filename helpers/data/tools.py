"""Tool calls and the schemas of tools in any spelling, without the nulls that a table (Arrow, Parquet) adds to them."""

from __future__ import annotations

from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.values import from_json, missing, without_nulls


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


def _nodes(value: object) -> list[dict]:
    """Every object inside of `value`."""
    if isinstance(value, list):
        return [node for item in value for node in _nodes(item)]
    return [value, *_nodes([*value.values()])] if isinstance(value, dict) else []


class TableRow(dict):
    """A row of a table (Arrow, Parquet), which fills what an object does not have with nulls."""


def is_tabular(rows: list[dict]) -> bool:
    """True when the nulls of tools and calls come from a table, or from one that was written as JSON.

    There a turn or a property is null; or every call names the same arguments, though the tools are several, or an
    argument is null here and has a value there. Nobody writes such nulls by hand.
    """
    nodes = _nodes([value for row in rows for value in map(from_json, row.values()) if isinstance(value, list)])
    return any(isinstance(row, TableRow) for row in rows) or any(map(_is_filled, nodes)) or _are_filled(nodes)


def _is_filled(node: dict) -> bool:
    properties = node.get("properties")
    return node.get("tool_calls", ()) is None or (isinstance(properties, dict) and None in properties.values())


def _are_filled(nodes: list[dict]) -> bool:
    calls = [node for node in nodes if isinstance(node.get("name"), str) and isinstance(node.get("arguments"), dict)]
    alike = len({frozenset(call["arguments"]) for call in calls}) == 1
    given = [(call["name"], name, value is None) for call in calls for name, value in call["arguments"].items()]
    null = {(tool, name) for tool, name, is_null in given if is_null}
    typed = {(tool, name) for tool, name, is_null in given if not is_null}
    return alike and bool(null) and (len({call["name"] for call in calls}) > 1 or bool(null & typed))
