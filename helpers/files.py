"""Files that are never half there: written beside their final name and renamed, read back row by row, hashed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import unicodedata
from pathlib import Path

from helpers.show.words import _


def write_atomic(path: Path, text: str) -> None:
    """Write `text` beside `path`, then rename: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # less the umask, as any new file
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def existing(path: Path) -> Path | None:
    """`path`, absolute and with its links, or the same name with its letters as a Mac writes them; None if neither."""
    path = Path(os.path.abspath(path.expanduser()))
    if path.exists() or str(path).isascii():
        return path if path.exists() else None
    folder = existing(path.parent)
    if folder is None or not folder.is_dir():
        return None
    name = unicodedata.normalize("NFC", path.name)
    return next((file for file in folder.iterdir() if unicodedata.normalize("NFC", file.name) == name), None)


def write_json(path: Path, value) -> None:
    """`value` as readable JSON, written atomically."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def replace_folder(draft: Path, folder: Path) -> None:
    """Put the finished folder `draft` in the place of `folder`, so that a reader never sees half of it."""
    old = folder.with_name(f".{folder.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(draft, folder)
    shutil.rmtree(old, ignore_errors=True)


def give_usual_modes(folder: Path) -> None:
    """Every file of `folder` gets the mode that a new file has here: the umask's. (safetensors makes its own 0600.)"""
    probe = folder / f".{secrets.token_hex(6)}"
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


def write_jsonl(path: Path, rows: list[dict]) -> None:
    """One row per line, written atomically."""
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: Path):
    """What a JSON file holds. Raises FileNotFoundError, or json.JSONDecodeError (a ValueError) for a damaged one."""
    return json.loads(path.read_text(encoding="utf-8"))


# what reading a file of a run may raise where it is damaged, or its JSON is of another shape
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, OSError)


def read_jsonl(path: Path) -> list[dict]:
    """All rows of a JSON-lines file, with or without the mark of an editor on Windows. A last line cut off by a kill is
    left out."""
    rows, lines = [], path.read_text(encoding="utf-8-sig").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline after it: a write that was cut off
                break
            sentence = _("{file}, line {number} is not JSON ({reason}): {line!r}")
            values = {"file": path.name, "number": number, "reason": error.msg, "line": line[:80]}
            raise ValueError(sentence.format(**values)) from None
    return rows


def sha256(path: Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_bytes(folder: Path) -> int:
    """What the files of `folder` and of the folders in it hold together."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# File systems that several machines share: what is free there is the cluster's, and a quota may lie far below it.
NETWORK = "fuse.mfs nfs nfs4 cifs smb3 ceph fuse.ceph lustre beegfs glusterfs fuse.glusterfs".split()


def is_network(folder: Path, mounts: str | None = None) -> bool:
    """True when `folder` lies on a network volume (RunPod's are MooseFS, whose source begins with mfs#).

    `mounts` stands for /proc/mounts, which Linux alone has.
    """
    listed = Path("/proc/mounts")
    text = mounts if mounts is not None else listed.read_text(encoding="utf-8") if listed.exists() else ""
    there, found = _nearest(folder).resolve(), [line.split()[:3] for line in text.splitlines()]
    over = [mount for mount in found if there.is_relative_to(mount[1].replace("\\040", " "))]
    source, _, kind = max(over, key=lambda mount: len(mount[1]), default=("", "", ""))
    return kind in NETWORK or source.startswith("mfs#")


def free_bytes(folder: Path) -> int | None:
    """Bytes free for `folder`; None on a network volume, where nobody can tell."""
    return None if is_network(folder) else shutil.disk_usage(_nearest(folder)).free


def _nearest(folder: Path) -> Path:
    """`folder`, or its nearest parent that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def is_full(folder: Path) -> bool:
    """True when not even a megabyte can be written into `folder`; the only question that a quota answers too."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            left = 1 << 20
            while left:
                left -= file.write(bytes(left))
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        raise
    return False


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, or over one file, as "sha256:<hex>"."""
    digest = hashlib.sha256()
    files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    for path in files:
        require_readable(path)
        digest.update(path.relative_to(folder.parent if folder.is_file() else folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def require_readable(path: Path) -> None:
    """Raises PermissionError with one sentence for a file or folder that this user may not read."""
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        sentence = _("{path} cannot be read by this user: ask its owner for `chmod -R a+rX`, or copy it.")
        raise PermissionError(sentence.format(path=path))
