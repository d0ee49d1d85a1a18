"""Which checkpoint can be trusted? A killed process leaves half of one, so the last file of a complete one,
complete.json, says what is in it; a checkpoint counts while it holds exactly that."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import cast

from helpers.files import read_json, sha256, write_json
from helpers.model.device import first_decides
from helpers.show.words import _

MARKER = "complete.json"
ROWS = "rows_per_step"  # the one name in it that is no file
STATE = "trainer_state.json"
NAME = re.compile(r"checkpoint-(0|[1-9][0-9]*)")


def mark_complete(checkpoint: Path, rows_per_step: int | None = None) -> None:
    """Write size and SHA-256 of every file of `checkpoint`, and `rows_per_step`, once they are on the disk."""
    files = sorted(path for path in checkpoint.iterdir() if path.name != MARKER and path.is_file())
    for path in files:
        _sync(path)
    marked: dict = {path.name: [path.stat().st_size, sha256(path)] for path in files}
    if rows_per_step:
        marked[ROWS] = rows_per_step
    write_json(checkpoint / MARKER, marked)
    _sync(checkpoint)


def fault(checkpoint: Path) -> str | None:
    """What is wrong with `checkpoint`, as the end of a sentence; None when it is complete."""
    try:
        saved = read_json(checkpoint / MARKER)
        saved.pop(ROWS, None)
        files = {name: (size, digest) for name, (size, digest) in saved.items()}
    except FileNotFoundError:
        return _("its save did not finish")
    except (ValueError, TypeError, AttributeError):  # no JSON, or another's
        return _("{file} cannot be read").format(file=MARKER)
    for name, (size, digest) in files.items():
        path = checkpoint / name
        if not path.exists():
            return _("{file} is missing").format(file=name)
        now = path.stat().st_size
        if now != size:
            return _("{file} has {now:,} bytes, {saved:,} were saved").format(file=name, now=now, saved=size)
        if sha256(path) != digest:
            return _("the contents of {file} have changed since they were saved").format(file=name)
    if step_inside(checkpoint) is None:
        return _("{file} cannot be read").format(file=STATE)
    return _("it is a copy of another one") if is_copy(checkpoint) else None


def step_inside(checkpoint: Path) -> int | None:
    """The step that its trainer_state.json has; None where that is not there, or no such file."""
    try:
        step = read_json(checkpoint / STATE)["global_step"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return step if isinstance(step, int) else None


def is_copy(checkpoint: Path) -> bool:
    """True when the step in it is not the one in its name: a copy, neither resumed from nor deleted."""
    return step_inside(checkpoint) not in (None, step_of(checkpoint))


def rows_per_step(checkpoint: Path) -> int | None:
    """Rows that one optimizer step of `checkpoint` learned from, all processes together; None in an older one."""
    return read_json(Path(checkpoint) / MARKER).get(ROWS)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders of a trainer folder, newest first, complete or not; no other names."""
    named = [path for path in folder.glob("checkpoint-*") if NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(named, key=step_of, reverse=True)


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """The complete ones by their step, newest first."""
    return {step_of(path): path for path in checkpoints(folder) if fault(path) is None}


def rows_file(folder: Path, step: int) -> Path:
    """The held-out rows of the evaluation at `step` in a trainer folder: row -> [nats, tokens]."""
    return folder / f"rows-{step}.json"


def step_of(checkpoint: Path) -> int:
    """The optimizer step in a checkpoint's name."""
    return int(cast(re.Match, NAME.fullmatch(checkpoint.name))[1])


def is_last(checkpoint: Path) -> bool:
    """True when nothing is left to train after `checkpoint`."""
    state = read_json(checkpoint / STATE)
    return state["global_step"] >= state["max_steps"]


def newest_complete(folder: Path) -> Path | None:
    """The newest complete checkpoint of `folder`, or None; says what was skipped, why, and what is taken."""
    newest, sentence = None, _("Skipped {checkpoint}: {reason}.")
    for checkpoint in checkpoints(folder):
        if (reason := fault(checkpoint)) is None:
            newest = checkpoint
            break
        print(sentence.format(checkpoint=checkpoint.name, reason=reason))
    newest = first_decides(newest)
    sentence = (
        _("Resuming from {checkpoint}.") if newest else _("No checkpoint to resume from: training starts at step 0.")
    )
    print(sentence.format(checkpoint=newest and newest.name))
    return newest


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
