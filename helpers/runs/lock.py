"""One process at a time writes a run: a lock by filelock, which knows the host, and a note for people beside it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

from filelock import SoftFileLock, Timeout

from helpers.files import read_json, write_json
from helpers.show.words import _


def unknown_owner() -> dict:
    """A live process of which nothing else is known."""
    return {"pid": None, "host": _("a machine that left no note"), "task": _("another task"), "since": None}


class RunInUse(RuntimeError):
    """Another live process holds the run; `owner` is its note."""

    def __init__(self, run: str, owner: dict, file: Path):
        sentence = _(
            "{run} is in use: {task}, process {pid} on {host}. Wait for it, stop it, or choose another run with "
            "QLORA_RUN_NAME. (Is that machine gone for good? Delete {file}.)"
        )
        values = {"task": _(owner["task"]), "pid": owner["pid"], "host": owner["host"]}
        super().__init__(sentence.format(run=run, file=file, **values))
        self.owner = owner


@contextlib.contextmanager
def hold(file: Path, task: str):
    """Hold the lock `file` for `task` while the block runs; the lock of a process that died here is taken over.

    Raises RunInUse when another live process holds it, here or on another machine that shares the folder.
    """
    note = note_of(file)
    try:
        lock = SoftFileLock(file).acquire(blocking=False)
    except Timeout:
        raise RunInUse(file.parent.name, owner_of(file) or unknown_owner(), file) from None
    with lock:
        write_json(note, {"pid": os.getpid(), "host": socket.gethostname(), "task": task, "since": time.time()})
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def owner_of(file: Path) -> dict | None:
    """Who holds the lock now (pid, host, task, since in Unix seconds); None when nobody alive does."""
    lock = SoftFileLock(file)
    if not file.exists():
        return None
    try:
        lock.acquire(blocking=False).lock.release()  # the lock of a dead process: taken over, and let go
        return None
    except Timeout:
        note = read_json(note_of(file)) if note_of(file).exists() else {}
        return note if note and note["pid"] == lock.pid else unknown_owner() | {"pid": lock.pid}


def note_of(file: Path) -> Path:
    """Who holds it, for people to read."""
    return file.with_name(f"{file.name}.json")
