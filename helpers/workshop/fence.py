"""A folder that somebody else writes: one look at it, each file in a fence of its own, each field typed.

Nothing here raises for what lies there. What cannot be read counts as not there, and is in `faults` as (file, reason).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from helpers.show.words import N_

LARGEST = 20_000_000  # bytes of a file that is still read


class Fence:
    """The folder `path`; `files` by name, `faults` shared by all folders of one participant."""

    def __init__(self, path: str | Path, faults: dict[tuple[str, str], None]):
        self.path, self.faults, self.files = Path(path), faults, {}
        try:
            with os.scandir(path) as entries:
                self.files = {entry.name: entry for entry in entries if not entry.name.startswith(".")}
        except OSError as error:
            self._fault(self.path.name, error)

    def folders(self) -> list[Fence]:
        """The folders in it that can be looked into; an empty one for those that cannot."""
        return [Fence(entry.path, self.faults) for entry in self.files.values() if self._is(entry, folder=True)]

    def time(self, name: str) -> float:
        """When `name` was last written, Unix seconds; 0 where that is not known."""
        try:
            return self.files[name].stat().st_mtime if name in self.files else 0.0
        except OSError:
            return 0.0

    def read(self, name: str, tail: int = LARGEST) -> bytes:
        """The last `tail` bytes of a file; none for one that is too large to be read whole."""
        if name not in self.files or not self._is(self.files[name], folder=False):
            return b""
        try:
            with open(self.files[name].path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > tail == LARGEST:
                    self.faults[name, N_("too large")] = None
                    return b""
                file.seek(max(0, size - tail))
                return file.read(tail)
        except OSError as error:
            self._fault(name, error)
            return b""

    def record(self, name: str, text: bytes | None = None) -> dict:
        """The JSON object in a file, or in `text` of it; empty where there is none."""
        text = self.read(name) if text is None else text
        try:
            found = json.loads(text or b"{}")
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        self.faults[name, N_("damaged")] = None
        return {}

    def typed(self, name: str, value, kind: Callable):
        """`value`, a field of the file `name`, as `kind` reads it; None where it is something else."""
        read = None if value is None else kind(value)
        if read is None and value is not None:
            self.faults[name, N_("a value of another kind")] = None
        return read

    def _is(self, entry: os.DirEntry, folder: bool) -> bool:
        """Is it a folder, or a file? A folder in a file's place is a fault, and a pipe, which would never end."""
        try:
            right = entry.is_dir() if folder else entry.is_file()
        except OSError as error:  # a link that leads to itself
            self._fault(entry.name, error)
            return False
        if not right and not folder:
            self.faults[entry.name, N_("no file")] = None
        return right

    def _fault(self, name: str, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # replaced at this moment
            self.faults[name, N_("no permission") if isinstance(error, PermissionError) else N_("not readable")] = None


def whole(value) -> int | None:
    """A number of things: 0 to 10^9."""
    return value if type(value) is int and 0 <= value < 10**9 else None


def decimal(value) -> float | None:
    """A measured number; None for one that is not finite."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e9 and math.isfinite(value) else None


def yes_or_no(value) -> bool | None:
    return value if type(value) is bool else None


def records(value) -> list[dict] | None:
    return value if isinstance(value, list) and all(isinstance(row, dict) for row in value) else None
