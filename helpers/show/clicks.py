"""What a click or a typed line could not do is said beside it: JupyterLab shows a reader no fault of a widget."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipywidgets import Label


def telling(told: Label, callback: Callable) -> Callable:
    """`callback`, whose fault is written into `told`, and raised as before: JupyterLab's log keeps where it was."""

    @wraps(callback)
    def answered(event):
        told.value = ""
        try:
            callback(event)
        except Exception as fault:
            told.value = f"{type(fault).__name__}: {fault}"
            raise

    return answered
