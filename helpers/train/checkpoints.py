"""Which checkpoint can be trusted: a save counts only when everything in it is there, byte for byte.

The Trainer writes a checkpoint file by file, so a killed process leaves half of one. `mark_complete` writes, as the very
last file, what the folder holds; `newest_complete` believes only folders that still hold exactly that.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from helpers.files import read_json, sha256, write_json

MARKER = "complete.json"
ROWS = "rows_per_step"  # the one name in it that is no file


def mark_complete(checkpoint: Path, rows_per_step: int | None = None) -> None:
    """Write size and SHA-256 of every file of `checkpoint` to its complete.json, after they have reached the disk.

    Beside them `rows_per_step`: what one optimizer step learned from, on all processes together.
    """
    files = sorted(path for path in checkpoint.iterdir() if path.name != MARKER and path.is_file())
    for path in files:
        _sync(path)
    marked = {path.name: [path.stat().st_size, sha256(path)] for path in files}
    write_json(checkpoint / MARKER, {**marked, **({ROWS: rows_per_step} if rows_per_step else {})})
    _sync(checkpoint)


def fault(checkpoint: Path) -> str | None:
    """What is wrong with `checkpoint`, as the end of a sentence; None when it is complete."""
    try:
        saved = read_json(checkpoint / MARKER)
    except FileNotFoundError:
        return "its save did not finish"
    except json.JSONDecodeError:
        return f"{MARKER} cannot be read"
    saved.pop(ROWS, None)
    for name, (size, digest) in saved.items():
        path = checkpoint / name
        if not path.exists():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes, {size:,} were saved"
        if sha256(path) != digest:
            return f"the contents of {name} have changed since they were saved"
    return None


def rows_per_step(checkpoint: Path) -> int | None:
    """Rows that one optimizer step of `checkpoint` learned from, all processes together; None in an older checkpoint."""
    return read_json(Path(checkpoint) / MARKER).get(ROWS)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders of a trainer folder, newest (highest step) first, complete or not."""
    return sorted(folder.glob("checkpoint-*[0-9]"), key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The optimizer step in a checkpoint's name."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def is_last(checkpoint: Path) -> bool:
    """True when nothing is left to train after `checkpoint`."""
    state = read_json(checkpoint / "trainer_state.json")
    return state["global_step"] >= state["max_steps"]


def newest_complete(folder: Path) -> Path | None:
    """The newest complete checkpoint of `folder`, None if there is none; says which were skipped, why, and which is taken."""
    for checkpoint in checkpoints(folder):
        reason = fault(checkpoint)
        if reason is None:
            print(f"Resuming from {checkpoint.name}.")
            return checkpoint
        print(f"Skipped {checkpoint.name}: {reason}.")
    print("No checkpoint to resume from: training starts at step 0.")
    return None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
