"""Which files of a folder are read: its subset, its part (train or test), no hidden files; what is left is said."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from helpers.data.encodings import Notes
from helpers.data.readers import READERS, TEXTS, passages
from helpers.files import read_json
from helpers.model.source import require_readable
from helpers.settings import RunConfig
from helpers.show.words import _

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
DESCRIPTIONS = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")  # they hold no rows
ABOUT = ("README", "LICENSE", "LICENCE", "NOTICE", "CHANGELOG")  # texts about the data
SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}.*")  # train_sft-00000-of-00002, as the hub names its files
PIECE = re.compile(r"(?:part|shard|chunk|file|v)?\d*|[a-z]")  # what is left of train_1, train-part2, train_b
WORDS = re.compile(r"[-_. ]+")


def folder_rows(path: Path, config: RunConfig, notes: Notes) -> Iterator[object]:
    """Rows of a file, or of the data files of a folder in the order of their names.

    Raises ValueError for an unknown kind of file, a subset or part that is not there, or a slice; PermissionError for
    what this user may not read.
    """
    part = config.dataset_split
    if re.search(r"[\[+]", part):
        sentence = _(
            "dataset_split={part!r} asks for a slice, which is for hub data sets: use max_rows for local files."
        )
        raise ValueError(sentence.format(part=part))
    require_readable(path)
    if path.is_file():
        _note_single(path, config, notes)
        if kind(path) in TEXTS:
            yield from passages(path, notes)
            return
        files = [path]
    elif any((path / name).exists() for name in ("state.json", "dataset_dict.json")):
        yield from _saved_to_disk(path, part, notes)
        return
    else:
        files = _files(path, config, notes)
    for file in files:
        require_readable(file)
        yield from READERS[kind(file)](file, notes, part)


def kind(file: Path) -> str:
    """The ending that says what a file is: that of the file behind a link, else that of the link (a cache has none)."""
    endings = (file.resolve().suffix.lower(), file.suffix.lower())
    return next((ending for ending in endings if ending in READERS), "")


def _note_single(path: Path, config: RunConfig, notes: Notes) -> None:
    if not kind(path):
        raise ValueError(_no_data_file(path))
    if config.dataset_config:
        sentence = _("dataset_config={subset!r} names a subset of a data set, but {file} is one file: leave it empty.")
        raise ValueError(sentence.format(subset=config.dataset_config, file=path.name))
    part = config.dataset_split
    if kind(path) != ".json" and PARTS.get(part, part) != "train":
        sentence = _("dataset_split={part!r} says nothing about a single file: all of {file} is read.")
        notes.append(sentence.format(part=part, file=path.name))


def _no_data_file(path: Path) -> str:
    sentence = _("{name} holds no data file that is known: use {endings}.")
    return sentence.format(name=path.name, endings=", ".join(READERS))


def _files(folder: Path, config: RunConfig, notes: Notes) -> list[Path]:
    """The data files of `folder` that the settings mean; notes name the others."""
    every = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    hidden = [name for name in every if any(part.startswith((".", "~$", "__MACOSX")) for part in name.parts)]
    data = [n for n in every if n not in hidden and kind(every[n]) and n.name not in DESCRIPTIONS]
    data = [name for name in data if name.stem.upper() not in ABOUT or kind(name) not in TEXTS]
    if tables := [name for name in data if kind(every[name]) not in TEXTS]:
        data = tables  # what is written beside them is about them
    parts = _of_subset(folder, data, config.dataset_config)
    wanted = _wanted({*parts.values()}, config.dataset_split, folder.name) if parts else set()
    kept = [name for name, part in parts.items() if part in wanted]
    left = {
        _("hidden"): hidden,
        _("another part than {part!r}").format(part=config.dataset_split): [n for n in parts if n not in kept],
        _("another subset"): [name for name in data if name not in parts],
        _("no data file"): [name for name in every if name not in hidden and name not in data],
    }
    for why, names in left.items():
        if names:
            _note_left(why, list(map(str, names)), notes)
    if not kept:
        raise ValueError(_no_data_file(folder))
    return [every[name] for name in kept]


def _note_left(why: str, names: list[str], notes: Notes) -> None:
    shown = ", ".join(names[:5])
    if len(names) > 5:
        shown = _("{names} and {more} more").format(names=shown, more=len(names) - 5)
    notes.append(_("Not read ({why}): {names}.").format(why=why, names=shown))


def _wanted(parts: set[str | None], split: str, folder: str) -> set[str | None]:
    """The parts that `split` means: the one of that name, else those of its kind. Raises ValueError for none, or more."""
    split = _nfc(split)
    if split in parts:
        return {split, None} if split == "train" else {split}
    alike = {part for part in parts if part and _part_word(part) == _part_word(split)}
    if len(alike) > 1 and not all(part in PARTS for part in alike):
        sentence = _("{folder} has several parts that dataset_split={split!r} may mean: set it to {parts}.")
        raise ValueError(sentence.format(folder=folder, split=split, parts=_(" or ").join(sorted(alike))))
    found = alike | ({None} & parts if _part_word(split) == "train" else set())
    if not found:
        sentence = _("{folder} has no part {split!r}: set dataset_split to {parts}.")
        known = sorted({part or "train" for part in parts})
        raise ValueError(sentence.format(folder=folder, split=split, parts=_(" or ").join(known)))
    return found


def _part_word(name: str) -> str | None:
    """train, validation or test, when a word of the name says so; the last one counts."""
    words = WORDS.split(name.lower())
    return next((PARTS[word] for word in reversed(words) if word in PARTS), None)


def _part_of(name: Path) -> str | None:
    """The part that a file's name or folder tells, None when it tells none: train, or train_sft where there is more."""
    stem = _nfc(name.stem).lower()
    if name.suffix.lower() in TEXTS and stem not in PARTS:
        stem = ""  # "test-driven.md" is a text, not a part
    shard = SHARD.fullmatch(stem)
    if shard and _part_word(shard[1]):
        return shard[1]
    first, *more = WORDS.split(stem)
    if first in PARTS and not all(map(PIECE.fullmatch, more)) and not any(word in PARTS for word in more):
        return stem
    found = [_part_word(piece) for piece in (stem, *map(_nfc, reversed(name.parts[:-1])))]
    return next((part for part in found if part), None)


def _of_subset(folder: Path, data: list[Path], subset: str) -> dict[Path, str | None]:
    """The files of one subset and their parts: as README.md describes them, else by folder and name."""
    described, subset = _described(folder), _nfc(subset)
    folders = sorted({_nfc(name.parts[0]) for name in data if len(name.parts) > 1})
    if subset and subset not in described and subset not in folders:
        sentence = _("dataset_config={subset!r} is no subset of {folder}: it has {known}.")
        known = ", ".join(described) or ", ".join(folders) or _("none")
        raise ValueError(sentence.format(subset=subset, folder=folder.name, known=known))
    if not subset and described:
        subset = "default" if "default" in described else next(iter(described)) if len(described) == 1 else ""
        if not subset:
            sentence = _("{folder} has the subsets {known}: choose one with dataset_config.")
            raise ValueError(sentence.format(folder=folder.name, known=", ".join(described)))
    if subset not in described:
        return {name: _part_of(name) for name in data if not subset or _nfc(name.parts[0]) == subset}
    found = {}
    for name in data:
        for split, pattern in described[subset]:
            # full_match is new in Python 3.13
            if name not in found and getattr(name, "full_match", name.match)(pattern):
                found[name] = split or _part_of(name)
    return found or {name: _part_of(name) for name in data}


def _described(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Subset -> (split, pattern of its files), from the head of README.md, as the hub reads it; a split may be ""."""
    import yaml

    readme = folder / "README.md"
    head = re.match(r"---\n(.*?)\n---", readme.read_text(encoding="utf-8"), re.S) if readme.exists() else None
    try:
        known = (yaml.safe_load(head[1]) or {}).get("configs") or [] if head else []
    except yaml.YAMLError:
        return {}
    return {_nfc(subset["config_name"]): _patterns(subset) for subset in known}


def _patterns(subset: dict) -> list[tuple[str, str]]:
    files = subset.get("data_files") or f"{subset['config_name']}/*"
    found = []
    for file in files if isinstance(files, list) else [files]:
        split, paths = (file.get("split", ""), file["path"]) if isinstance(file, dict) else ("", file)
        found += [(_nfc(split), path) for path in (paths if isinstance(paths, list) else [paths])]
    return found


def _saved_to_disk(folder: Path, part: str, notes: Notes) -> Iterator[dict]:
    """Rows of what `datasets` wrote with save_to_disk."""
    from datasets import load_from_disk

    if (folder / "dataset_dict.json").exists():
        parts = read_json(folder / "dataset_dict.json")["splits"]
        wanted = _wanted(set(parts), part, folder.name)
        chosen = next(name for name in parts if name in wanted)
        if others := [name for name in parts if name != chosen]:
            _note_left(_("another part than {part!r}").format(part=part), others, notes)
        folder = folder / chosen
    for batch in load_from_disk(str(folder)).iter(1000):
        yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))


def _nfc(name: object) -> str:
    """A name as it is typed: a Mac takes letters apart in the names of files."""
    return unicodedata.normalize("NFC", str(name))
