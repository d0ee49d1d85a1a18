"""One row of notebook 01's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One row. `fix` is a sentence when `ok` is False, else empty."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def row(name: str, ok: bool, detail: str, fix: str) -> Check:
    """A check whose fix is shown only when it is red."""
    return Check(name, ok, detail, "" if ok else fix)
