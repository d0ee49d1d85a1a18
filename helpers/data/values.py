"""Values of somebody's data: is one missing, a text, a number, or structure that a file holds as text?"""

from __future__ import annotations

import ast
import json
import math
from typing import Any


def missing(value: object) -> bool:
    """True for None, NaN, an empty text, list or object: there is nothing to read."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, (list, tuple, dict)):
        return not value
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_text(value: object) -> str | None:
    """Text and numbers as text, a list of texts as paragraphs; None for all that is no text (None, NaN, dict, true)."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return None if isinstance(value, bool) else str(value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "\n\n".join(value)
    return None


def as_number(value: Any) -> float | None:
    """A number, or a text that is one; None for everything else, true and false among it."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


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
