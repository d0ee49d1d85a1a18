"""Raw rows of the data sets of a run, one at a time: local files and folders, or the hub."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from helpers.data.encodings import Notes
from helpers.data.folders import folder_rows
from helpers.data.formats import Format, convert, fields_read, recognise
from helpers.data.readers import READERS
from helpers.data.reasons import Unusable
from helpers.model.source import folder_digest, hub_revision, require_readable
from helpers.paths import local_path
from helpers.settings import RunConfig
from helpers.show.words import _

SHUFFLE_BUFFER = 10_000  # rows in memory when a stream is sampled
LOOKED_AT = 50  # rows by which the format is recognised


@dataclass
class Source:
    """One data set: its rows as they are, how they are to be read, and what the reader must be told."""

    name: str
    weight: float  # how often each of its conversations is trained on
    rows: Iterator
    form: Format
    notes: Notes
    columns: Counter = field(default_factory=Counter)  # rows that hold each
    of_turns: Counter = field(default_factory=Counter)  # fields of the listed turns

    def count(self, row: object) -> None:
        """Take note of the columns of one row, and of the fields of its turns."""
        if not isinstance(row, dict):
            return
        self.columns.update(row.keys())
        turns = row.get(self.form.columns[0])
        if isinstance(turns, list):
            for turn in turns:
                self.of_turns.update(turn.keys() if isinstance(turn, dict) else ())

    def summary(self) -> dict:
        """For data_report.json; complete when all rows were read."""
        known = {"data": self.name, "format": self.form.name, "columns": self.form.columns, "notes": self.notes}
        return {**known, "fields": fields_read(self.form, self.columns, self.of_turns)}


def first_as_messages(rows: list[dict], source: Source) -> list[dict]:
    """The first of `rows` as messages, or why it is dropped: to look at."""
    try:
        return convert(rows[0], source.form).messages if rows else []
    except Unusable as unusable:
        return [{"dropped": str(unusable)}]


def parts(config: RunConfig) -> list[tuple[RunConfig, float]]:
    """The data sets of "a.csv, owner/name:2", each as settings of its own and its weight (1 when none is given).

    Raises ValueError for a weight that is not above 0.
    """
    names = [config.dataset_id] if local_path(config.dataset_id) else config.dataset_id.split(",")
    revisions = config.dataset_revision.split(", ")
    revisions = revisions if len(revisions) == len(names) else revisions[:1] * len(names)
    found = []
    for name, revision in zip(map(str.strip, names), revisions, strict=True):
        one, weight = _weighted(name, config.dataset_id)
        settings = replace(config, dataset_id=one, dataset_revision=revision, run_name=config.run_name)
        found.append((settings, weight))
    return found


def _weighted(name: str, whole: str) -> tuple[str, float]:
    """ "a.csv:2" as its name and its weight."""
    match = re.fullmatch(r"(.+?):([\d.]+)", name)
    one, weight = (match[1], match[2]) if match and not local_path(name) else (name, "1")
    if not one or not re.fullmatch(r"\d+(\.\d+)?", weight) or not 0 < float(weight) <= 100:
        told = _("dataset_id={whole!r}: {name!r} is no data set with a weight of 0 to 100, such as a.csv:2.")
        raise ValueError(told.format(whole=whole, name=name))
    return one, float(weight)


def open_sources(config: RunConfig) -> list[Source]:
    """The data sets of config.dataset_id, opened. Raises ValueError for one that is empty or of no known format."""
    return [_open(one, weight) for one, weight in parts(config)]


def _open(config: RunConfig, weight: float) -> Source:
    notes: Notes = []
    rows = read_rows(config, notes)
    head = list(islice(rows, LOOKED_AT))
    if not head:
        told = _("dataset_id={data!r} has no row to read. {notes}")
        raise ValueError(told.format(data=config.dataset_id, notes=" ".join(notes)).strip())
    form = recognise(head, config.dataset_format)
    if form.prose:
        told = _("{columns} holds texts where a mark would stand: joined to the question.")
        if not form.joins:
            told = _(
                "{columns} holds texts where a mark would stand: not read. If it is part of the question, name it "
                "input."
            )
        notes.append(told.format(columns=", ".join(form.prose)))
    return Source(config.dataset_id, weight, chain(head, rows), form, notes)


def data_revision(config: RunConfig) -> str:
    """What is really read, to be recorded: the hub commit, or "sha256:..." over the local files; of several, in
    order."""
    found = []
    for one, _weight in parts(config):
        path = _local(one)
        found.append(folder_digest(path) if path else _hub_info(one).sha)
    return ", ".join(found)


def data_size(config: RunConfig) -> int:
    """Bytes of the local files, or the most that the hub will send for all parts of the data sets."""
    total = 0
    for one, _weight in parts(config):
        if path := _local(one):
            total += sum(
                file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
            )
        else:
            total += sum(file.size or 0 for file in _hub_info(one).siblings)
    return total


def _hub_info(config: RunConfig):
    from huggingface_hub import HfApi

    revision = hub_revision(config.dataset_revision)
    return HfApi().dataset_info(config.dataset_id, revision=revision, files_metadata=True)


def read_rows(config: RunConfig, notes: Notes | None = None) -> Iterator[object]:
    """The rows of one data set as they are, one at a time; what is not a row comes as an UnreadRow.

    With config.max_rows a random sample of that many, drawn with config.seed and kept in the file's order, so that a
    sorted file is not cut to its head. What had to be guessed is appended to `notes`.
    Raises ValueError for an unknown kind of file or a data set that brings a script.
    """
    if path := _local(config):
        return _sample(folder_rows(path, config, [] if notes is None else notes), config.max_rows, config.seed)
    return _hub_rows(config)


def _local(config: RunConfig) -> Path | None:
    """The local file or folder, or None for a hub id; FileNotFoundError when it looks local and is not there."""
    name, path = config.dataset_id, local_path(config.dataset_id)
    if path is not None:
        require_readable(path)
    elif name.startswith(("/", "~", ".")) or name.count("/") > 1 or Path(name).suffix in READERS:
        told = _("dataset_id={name!r} is no file or folder here, and a hub id looks like owner/name.")
        raise FileNotFoundError(told.format(name=name))
    return path


def _hub_rows(config: RunConfig) -> Iterator[dict]:
    """Rows of a hub data set; with config.dataset_streaming nothing is stored and a sample is drawn from a buffer."""
    from datasets import load_dataset

    if config.dataset_streaming and "[" in config.dataset_split:
        told = _("dataset_split={split!r} cannot be streamed: use {part!r} and max_rows, or dataset_streaming=False.")
        raise ValueError(told.format(split=config.dataset_split, part=config.dataset_split.split("[")[0]))
    try:
        rows = load_dataset(
            config.dataset_id,
            name=config.dataset_config or None,
            split=config.dataset_split,
            revision=hub_revision(config.dataset_revision),
            streaming=config.dataset_streaming,
        )
    except (RuntimeError, ValueError) as error:
        sentence = _hub_refusal(config, str(error))
        if not sentence:
            raise
        raise ValueError(sentence) from None
    if config.max_rows and config.dataset_streaming:
        return iter(rows.shuffle(seed=config.seed, buffer_size=SHUFFLE_BUFFER).take(config.max_rows))
    if config.max_rows and config.max_rows < len(rows):
        rows = rows.select(sorted(random.Random(config.seed).sample(range(len(rows)), config.max_rows)))
    return iter(rows)


def _hub_refusal(config: RunConfig, error: str) -> str:
    """What to do about an error of `load_dataset`; "" when it speaks for itself."""
    data = config.dataset_id
    if "script" in error:
        told = _(
            "dataset_id={data!r} wants to run its own program, which is refused: the hub's Parquet copy needs none, "
            "try "
            "dataset_revision='refs/convert/parquet'."
        )
        return told.format(data=data)
    if listed := re.search(r"(?:among the available configs|Available): \[(.*?)\]", error):
        told = _("dataset_id={data!r} has the subsets {listed}: choose one with dataset_config (now {subset!r}).")
        return told.format(data=data, listed=listed[1], subset=config.dataset_config)
    if "split" in error.lower():
        told = _("dataset_split={split!r} is no part of {data!r}: {error}")
        return told.format(split=config.dataset_split, data=data, error=error)
    return ""


def _sample(rows: Iterator, size: int, seed: int) -> Iterator:
    """`size` of the rows (0 = all), each equally likely, in their order; holds only `size` rows (Vitter 1985, R)."""
    if not size:
        yield from rows
        return
    pick, kept = random.Random(seed), []
    for number, row in enumerate(rows):
        place = number if number < size else pick.randrange(number + 1)
        if number < size:
            kept.append((number, row))
        elif place < size:
            kept[place] = (number, row)
    yield from (row for _, row in sorted(kept, key=lambda item: item[0]))
