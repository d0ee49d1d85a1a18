"""Which files of a folder are read: its subset, its part (train or test), no hidden files; what is left is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from helpers.data.readers import READERS, Notes, json_rows
from helpers.files import read_json
from helpers.settings import RunConfig

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
DESCRIPTIONS = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")  # they hold no rows


def folder_rows(path: Path, config: RunConfig, notes: Notes) -> Iterator[dict | str]:
    """Rows of a file, or of the data files of a folder in the order of their names.

    Raises ValueError for an unknown kind of file, a subset or part that is not there, or a slice (for hub data sets only).
    """
    part = config.dataset_split
    if re.search(r"[\[+]", part):
        raise ValueError(
            f"dataset_split={part!r} asks for a slice, which is for hub data sets: use max_rows for local files."
        )
    if path.is_dir() and any((path / name).exists() for name in ("state.json", "dataset_dict.json")):
        yield from _saved_to_disk(path, part, notes)
        return
    if path.is_file() and config.dataset_config:
        raise ValueError(
            f"dataset_config={config.dataset_config!r} names a subset of a data set, but {path.name} is one file: leave it empty."
        )
    if path.is_file() and path.suffix.lower() != ".json" and PARTS.get(part, part) != "train":
        notes.append(f"dataset_split={part!r} says nothing about a single file: all of {path.name} is read.")
    files = [path] if path.is_file() else _files(path, config, notes)
    if not files or files[0].suffix.lower() not in READERS:
        raise ValueError(f"{path.name} holds no data file that is known: use {', '.join(READERS)}.")
    for file in files:
        if file.suffix.lower() == ".json":
            yield from json_rows(file, notes, part)
        else:
            yield from READERS[file.suffix.lower()](file, notes)


def _files(folder: Path, config: RunConfig, notes: Notes) -> list[Path]:
    """The data files of `folder` that the settings mean; notes name the others."""
    every = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    hidden = [name for name in every if any(part.startswith((".", "~$", "__MACOSX")) for part in name.parts)]
    data = [n for n in every if n not in hidden and n.suffix.lower() in READERS and n.name not in DESCRIPTIONS]
    chosen = _of_subset(folder, data, config.dataset_config)
    parts = {name: _part(name) for name in chosen}
    wanted = PARTS.get(config.dataset_split, config.dataset_split)
    kept = [name for name in chosen if parts[name] == wanted or (parts[name] is None and wanted == "train")]
    if chosen and not kept:
        found = sorted({part or "train" for part in parts.values()})
        raise ValueError(
            f"{folder.name} has no part {config.dataset_split!r}: set dataset_split to {' or '.join(found)}."
        )
    for why, names in {
        "hidden": hidden,
        f"another part than {config.dataset_split!r}": [name for name in chosen if name not in kept],
        "another subset": [name for name in data if name not in chosen],
        "no data file": [name for name in every if name not in hidden and name not in data],
    }.items():
        if names:
            more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
            notes.append(f"Not read ({why}): {', '.join(map(str, names[:5]))}{more}.")
    return [every[name] for name in kept]


def _part(name: Path) -> str | None:
    """The part that a file's name or folder tells, None when it tells none."""
    words = [word for piece in (*name.parts[:-1], name.stem) for word in re.split(r"[-_. ]", piece.lower())]
    return next((PARTS[word] for word in reversed(words) if word in PARTS), None)


def _of_subset(folder: Path, data: list[Path], subset: str) -> list[Path]:
    """The files of one subset: as README.md describes them, else those of the folder of that name."""
    described = _described(folder)
    if subset and subset not in described and not (folder / subset).is_dir():
        known = (
            ", ".join(described) or ", ".join(sorted({name.parts[0] for name in data if len(name.parts) > 1})) or "none"
        )
        raise ValueError(f"dataset_config={subset!r} is no subset of {folder.name}: it has {known}.")
    if not subset and len(described) > 1:
        subset = "default" if "default" in described else ""
        if not subset:
            raise ValueError(f"{folder.name} has the subsets {', '.join(described)}: choose one with dataset_config.")
    if subset in described:
        return [
            name
            for name in data
            if any(
                name.full_match(glob) if hasattr(name, "full_match") else name.match(glob) for glob in described[subset]
            )
        ]
    return [name for name in data if not subset or name.parts[0] == subset]


def _described(folder: Path) -> dict[str, list[str]]:
    """Subset -> patterns of its files, from the head of README.md, as the hub reads it."""
    import yaml

    readme = folder / "README.md"
    head = re.match(r"---\n(.*?)\n---", readme.read_text(encoding="utf-8"), re.S) if readme.exists() else None
    try:
        known = (yaml.safe_load(head[1]) or {}).get("configs") or [] if head else []
    except yaml.YAMLError:
        return {}
    found = {}
    for subset in known:
        files = subset.get("data_files") or f"{subset['config_name']}/*"
        files = files if isinstance(files, list) else [files]
        paths = [file["path"] if isinstance(file, dict) else file for file in files]
        found[str(subset["config_name"])] = [
            glob for path in paths for glob in (path if isinstance(path, list) else [path])
        ]
    return found


def _saved_to_disk(folder: Path, part: str, notes: Notes) -> Iterator[dict]:
    """Rows of what `datasets` wrote with save_to_disk."""
    from datasets import load_from_disk

    if (folder / "dataset_dict.json").exists():
        parts = read_json(folder / "dataset_dict.json")["splits"]
        if part not in parts:
            raise ValueError(f"{folder.name} has no part {part!r}: set dataset_split to {' or '.join(parts)}.")
        if others := [name for name in parts if name != part]:
            notes.append(f"Not read (another part than {part!r}): {', '.join(others)}.")
        folder = folder / part
    for batch in load_from_disk(str(folder)).iter(1000):
        yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
