"""Rows that somebody took out of the training part: data/left_out.json of a run. 03 obeys the list, and counts it."""

from __future__ import annotations

from collections.abc import Iterable

from helpers.data.split import conversation_key
from helpers.files import read_json, write_json
from helpers.runs import RunDir

BEGINNING = 60  # characters of a row that stand beside its hash, for whoever reads the file


def row_hash(row: dict) -> str:
    """16 hexadecimal digits that a conversation has in every run, whatever its seed."""
    return f"{conversation_key(row['messages'], 0):016x}"


def left_out(run: RunDir) -> dict[str, str]:
    """The rows on the list: hash -> how the row begins."""
    return read_json(run.left_out)["rows"] if run.left_out.exists() else {}


def leave_out(run: RunDir, rows: Iterable[dict]) -> int:
    """Put conversations on the list of `run`; how many stand there now. 03 has to run again."""
    listed = left_out(run) | {row_hash(row): row["messages"][-1]["content"][:BEGINNING] for row in rows}
    run.left_out.parent.mkdir(parents=True, exist_ok=True)
    write_json(run.left_out, {"schema": 1, "rows": listed})
    return len(listed)
