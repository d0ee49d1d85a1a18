"""Which files of a folder are read: its subset, its part (train or test), no hidden files; what is left is said."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from helpers.data.encodings import Notes
from helpers.data.parts import described, fits, nfc, part_of, part_word, wanted_parts
from helpers.data.readers import READERS, TEXTS, passages
from helpers.data.values import TableRow
from helpers.files import read_json, require_readable
from helpers.settings import RunConfig
from helpers.show.words import N_, _

DESCRIPTIONS = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")  # they hold no rows
ABOUT = ("README", "LICENSE", "LICENCE", "NOTICE", "CHANGELOG")  # texts about the data
HIDDEN, NOWHERE, OTHER = N_("hidden"), N_("a link that leads nowhere"), N_("no data file")


def folder_rows(path: Path, config: RunConfig, notes: Notes) -> Iterator[object]:
    """Rows of a file, or of the data files of a folder in the order of their names.

    Raises ValueError for an unknown kind of file, a subset or part that is not there, or a slice; PermissionError for
    what this user may not read.
    """
    part = config.dataset_split
    if re.search(r"[\[+]", part):
        sentence = _("dataset_split={part!r} asks for a slice, for hub data sets only: use max_rows for local files.")
        raise ValueError(sentence.format(part=part))
    require_readable(path)
    if path.is_dir() and any((path / name).exists() for name in ("state.json", "dataset_dict.json")):
        yield from _saved_to_disk(path, part, notes)
        return
    if path.is_file():
        _note_single(path, config, notes)
    if path.is_file() and kind(path) in TEXTS:
        yield from passages(path, notes)
        return
    for file in [path] if path.is_file() else _files(path, config, notes):
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
    if kind(path) != ".json" and part_word(config.dataset_split) != "train":
        sentence = _("dataset_split={part!r} says nothing about a single file: all of {file} is read.")
        notes.append(sentence.format(part=config.dataset_split, file=path.name))


def _no_data_file(path: Path) -> str:
    sentence = _("{name} holds no data file that is known: use {endings}.")
    return sentence.format(name=path.name, endings=", ".join(READERS))


def _files(folder: Path, config: RunConfig, notes: Notes) -> list[Path]:
    """The data files of `folder` that the settings mean; notes name the others."""
    unread: dict[str, list[Path]] = {HIDDEN: [], NOWHERE: [], OTHER: []}
    tables, texts = [], []
    for name in _all_files(folder):
        if why := _unread(folder, name):
            unread[why].append(name)
        else:
            (texts if kind(folder / name) in TEXTS else tables).append(name)
    parts = _of_subset(folder, tables or texts, config.dataset_config)
    wanted = wanted_parts({*parts.values()}, config.dataset_split, folder.name) if parts else set()
    kept = [name for name, part in parts.items() if part in wanted]
    _note_left(_(HIDDEN), unread[HIDDEN], notes)
    _note_left(_(NOWHERE), unread[NOWHERE], notes)
    _note_left(_("another part than {part!r}").format(part=config.dataset_split), parts.keys() - kept, notes)
    _note_left(_("another subset"), {*(tables or texts)} - parts.keys(), notes)
    # texts that are written beside tables are about them
    _note_left(_(OTHER), unread[OTHER] + (texts if tables else []), notes)
    if not kept:
        raise ValueError(_no_data_file(folder))
    return [folder / name for name in kept]


def _unread(folder: Path, name: Path) -> str:
    """Why a file is no data, whatever the settings mean; "" for one that may be."""
    if any(part.startswith((".", "~$", "__MACOSX")) for part in name.parts):
        return HIDDEN
    if not (folder / name).exists():
        return NOWHERE
    ending = kind(folder / name)
    about_data = name.name in DESCRIPTIONS or (ending in TEXTS and name.stem.upper() in ABOUT)
    return OTHER if about_data or not ending else ""


def _all_files(folder: Path) -> list[Path]:
    """Every file under `folder`, through links as well, in the order of their names."""
    found, seen = [], set()

    def refuse(error: OSError) -> None:
        require_readable(Path(error.filename))
        raise error

    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()  # a link to what was there
            continue
        seen.add(real)
        found += [Path(place, file).relative_to(folder) for file in files]
    return sorted(found)


def _note_left(why: str, left: Iterable, notes: Notes) -> None:
    names = sorted(map(str, left))
    if not names:
        return
    shown = ", ".join(names[:5])
    if len(names) > 5:
        shown = _("{names} and {more} more").format(names=shown, more=len(names) - 5)
    notes.append(_("Not read ({why}): {names}.").format(why=why, names=shown))


def _of_subset(folder: Path, data: list[Path], subset: str) -> dict[Path, str | None]:
    """The files of one subset and their parts: as README.md describes them, else by folder and name."""
    (known, default), subset = described(folder), nfc(subset)
    folder_of = {name: nfc(name.parts[0]) for name in data}
    folders = sorted({first for name, first in folder_of.items() if len(name.parts) > 1})
    if subset not in ("", *known, *folders):
        sentence = _("dataset_config={subset!r} is no subset of {folder}: it has {known}.")
        names = ", ".join(known) or ", ".join(folders) or _("none")
        raise ValueError(sentence.format(subset=subset, folder=folder.name, known=names))
    if known and not (subset or default):
        sentence = _("{folder} has the subsets {known}: choose one with dataset_config.")
        raise ValueError(sentence.format(folder=folder.name, known=", ".join(known)))
    found: dict[Path, str | None] = {}
    for split, pattern in known.get(subset or default, ()):
        found |= {name: split or part_of(name) for name in data if name not in found and fits(name, pattern)}
    whole = subset == "" or subset in known
    return found or {name: part_of(name) for name in data if whole or folder_of[name] == subset}


def _saved_to_disk(folder: Path, part: str, notes: Notes) -> Iterator[dict]:
    """Rows of what `datasets` wrote with save_to_disk."""
    from datasets import load_from_disk

    if (folder / "dataset_dict.json").exists():
        parts = read_json(folder / "dataset_dict.json")["splits"]
        wanted = wanted_parts(set(parts), part, folder.name)
        chosen = next(str(name) for name in parts if name in wanted)
        _note_left(_("another part than {part!r}").format(part=part), {*parts} - {chosen}, notes)
        folder = folder / chosen
    rows: Any = load_from_disk(str(folder))
    for batch in rows.iter(1000):
        yield from (TableRow(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
