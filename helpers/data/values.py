"""Values of somebody's data: is one missing, a text, a number, structure, or a null that only a table put there?"""

import ast
import json
import math
from typing import Any, TypeGuard

from helpers.data.reasons import Repair


def missing(value: object) -> bool:
    """True for None, NaN, an empty text, list or object: there is nothing to read."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, (list, tuple, dict)):
        return not value
    return value is None or value != value


def as_text(value: object) -> str | None:
    """Text and numbers as text, a list of texts as paragraphs; None for all that is no text (None, NaN, dict, true)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "\n\n".join(value)
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return str(value) if isinstance(value, (int, float)) else None


def as_number(value: Any) -> float | None:
    """A number, or a text that is one; None for everything else, true and false among it."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def is_turns(value: object) -> TypeGuard[list[dict]]:
    """True for a list of objects that say who speaks, and what."""
    return isinstance(value, list) and bool(value) and all(map(is_turn, value))


def is_turn(value: object) -> TypeGuard[dict]:
    if not isinstance(value, dict) or not ("role" in value or "from" in value):
        return False
    return not value.keys().isdisjoint(("content", "value", "tool_calls", "function_call"))


def in_words(value: Any, repairs: list[Repair], tabular: bool = False) -> Any:
    """What stands in place of a text, as text: a number, true or false, a list or an object (as its JSON).

    What has no text (None, NaN) stays as it is, and is refused later.
    """
    if isinstance(value, bool):
        repairs.append(Repair.WORD)
        return str(value).lower()
    if not isinstance(value, (dict, list)):
        return as_text(value)
    try:
        text = json.dumps(without_nulls(value, repairs) if tabular else value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return value
    repairs.append(Repair.OBJECT)
    return text


def from_json(value: object) -> Any:
    """A list or an object that a file holds as text (JSON, or as Python prints it); all else as it is.

    Only for columns that hold structure (messages, history, tools): a text of the user stays a text.
    """
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


class TableRow(dict):
    """A row of a table (Arrow, Parquet), which fills what an object does not have with nulls."""


def without_nulls(value: Any, repairs: list[Repair], keep: str | None = None) -> Any:
    """`value` without the fields that are null, but for `keep`: a table gives every object the fields of all."""
    if isinstance(value, list):
        return [without_nulls(item, repairs, keep) for item in value]
    if not isinstance(value, dict):
        return value
    real = {name: item for name, item in value.items() if item is not None or name == keep}
    if len(real) < len(value):
        repairs.append(Repair.NULLS)
    return {name: without_nulls(item, repairs, keep) for name, item in real.items()}


def objects_in(value: object) -> list[dict]:
    """Every object inside of `value`."""
    if isinstance(value, list):
        return [node for item in value for node in objects_in(item)]
    return [value, *objects_in([*value.values()])] if isinstance(value, dict) else []


def is_tabular(rows: list[dict]) -> bool:
    """True when the nulls of tools and calls come from a table, or from one that was written as JSON.

    There a turn or a property is null; or every call names the same arguments, though the tools are several, or an
    argument is null here and has a value there. Nobody writes such nulls by hand.
    """
    if any(isinstance(row, TableRow) for row in rows):
        return True
    nodes = objects_in([value for row in rows for value in map(from_json, row.values()) if isinstance(value, list)])
    calls = [node for node in nodes if isinstance(node.get("name"), str) and isinstance(node.get("arguments"), dict)]
    return any(map(_holds_a_null, nodes)) or _filled_up(calls)


def _holds_a_null(node: dict) -> bool:
    """Is the list of a turn's calls null, or a property of a tool?"""
    properties = node.get("properties")
    return node.get("tool_calls", ()) is None or (isinstance(properties, dict) and None in properties.values())


def _filled_up(calls: list[dict]) -> bool:
    """Do all calls name the same arguments, with nulls that nobody would have written?"""
    given = [(call["name"], name, value) for call in calls for name, value in call["arguments"].items()]
    null = {(tool, name) for tool, name, value in given if value is None}
    real = {(tool, name) for tool, name, value in given if value is not None}
    several_tools = len({call["name"] for call in calls}) > 1
    same_arguments = len({frozenset(call["arguments"]) for call in calls}) == 1
    return bool(null) and same_arguments and (several_tools or not null.isdisjoint(real))
