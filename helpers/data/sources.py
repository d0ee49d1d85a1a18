"""Raw rows of the data sets of a run, one at a time: local files and folders, or the hub."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from helpers.data.columns import plain_name
from helpers.data.encodings import Notes
from helpers.data.folders import folder_rows
from helpers.data.formats import Format, convert, fields_read, recognise
from helpers.data.hub import hub_info, hub_rows
from helpers.data.parts import part_word
from helpers.data.readers import READERS
from helpers.data.reasons import Unusable
from helpers.files import folder_digest, require_readable
from helpers.paths import local_path
from helpers.settings import RunConfig
from helpers.show.words import _

LOOKED_AT = 50  # rows by which the format is recognised
OF_A_PART = ("split", "partition", "분할", "구분")  # columns that may say of which part a row is


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
    marked: Counter = field(default_factory=Counter)  # rows by (column, part) where a column names their part

    def count(self, row: object) -> None:
        """Take note of the columns of one row, and of the fields of its turns."""
        if not isinstance(row, dict):
            return
        self.columns.update(row.keys())
        self.marked.update((name, part_word(row[name])) for name in row if plain_name(str(name)) in OF_A_PART)
        turns = row.get(self.form.columns[0])
        for turn in turns if isinstance(turns, list) else ():
            self.of_turns.update(turn.keys() if isinstance(turn, dict) else ())

    def summary(self) -> dict:
        """For data_report.json; complete when all rows were read."""
        known = {"data": self.name, "format": self.form.name, "columns": self.form.columns}
        known |= {"notes": [*self.notes, *self._of_other_parts()]}
        return {**known, "fields": fields_read(self.form, self.columns, self.of_turns)}

    def _of_other_parts(self) -> list[str]:
        """A note for each column by which some rows are to train on, and others are not."""
        sentence = _(
            "{column}: not read, so {rows:,} rows that it calls validation or test are used like all others. To keep "
            "them out, write the rows to train on into a file of their own."
        )
        rows = {name: self.marked[name, "validation"] + self.marked[name, "test"] for name, _part in self.marked}
        found = [name for name, count in rows.items() if count and self.marked[name, "train"]]
        return [sentence.format(column=name, rows=rows[name]) for name in found]


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
    whole, sources = config.dataset_id, []
    names = [whole] if local_path(whole) else whole.split(",")
    revisions = config.dataset_revision.split(", ")
    revisions = revisions if len(revisions) == len(names) else revisions[:1] * len(names)
    for name, revision in zip(map(str.strip, names), revisions, strict=True):
        match = re.fullmatch(r"(.+?):([\d.]+)", name)
        data, weight = (match[1], match[2]) if match and not local_path(name) else (name, "1")
        if not data or not re.fullmatch(r"\d+(\.\d+)?", weight) or not 0 < float(weight) <= 100:
            sentence = _("dataset_id={whole!r}: {name!r} is no data set with a weight of 0 to 100, such as a.csv:2.")
            raise ValueError(sentence.format(whole=whole, name=name))
        settings = replace(config, dataset_id=data, dataset_revision=revision, run_name=config.run_name)
        sources.append((settings, float(weight)))
    return sources


def open_sources(config: RunConfig) -> list[Source]:
    """The data sets of config.dataset_id, opened. Raises ValueError for one that is empty or of no known format."""
    return [_open(one, weight) for one, weight in parts(config)]


def _open(config: RunConfig, weight: float) -> Source:
    notes: Notes = []
    rows = read_rows(config, notes)
    head = list(islice(rows, LOOKED_AT))
    if not head:
        sentence = _("dataset_id={data!r} has no row to read. {notes}")
        raise ValueError(sentence.format(data=config.dataset_id, notes=" ".join(notes)).strip())
    form = recognise(head, config.dataset_format)
    if form.misnamed:
        sentence = _("{columns}: joined to the question, since it holds texts, which the name does not say.")
        if not form.joins:
            sentence = _(
                "{columns}: not read, since the values are of another kind than the name says. If it is part of the "
                "question, name it input."
            )
        notes.append(sentence.format(columns=", ".join(form.misnamed)))
    return Source(config.dataset_id, weight, chain(head, rows), form, notes)


def data_revision(config: RunConfig) -> str:
    """What is really read, to be recorded: the hub commit, or "sha256:..." over the local files; several in order."""
    found = [(data, _local(data)) for data, _weight in parts(config)]
    return ", ".join(folder_digest(path) if path else str(hub_info(data).sha) for data, path in found)


def data_size(config: RunConfig) -> int:
    """Bytes of the local files, or the most that the hub will send for all parts of the data sets."""
    total = 0
    for data, _weight in parts(config):
        if path := _local(data):
            total += sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
        else:
            total += sum(file.size or 0 for file in hub_info(data).siblings or ())
    return total


def read_rows(config: RunConfig, notes: Notes | None = None) -> Iterator[object]:
    """The rows of one data set as they are, one at a time; what is not a row comes as an UnreadRow.

    With config.max_rows a random sample of that many, drawn with config.seed and kept in the file's order, so that a
    sorted file is not cut to its head. What had to be guessed is appended to `notes`.
    Raises ValueError for an unknown kind of file or a data set that brings a script.
    """
    if path := _local(config):
        return _sample(folder_rows(path, config, [] if notes is None else notes), config.max_rows, config.seed)
    return hub_rows(config)


def _local(config: RunConfig) -> Path | None:
    """The local file or folder, or None for a hub id; FileNotFoundError when it looks local and is not there."""
    name, path = config.dataset_id, local_path(config.dataset_id)
    if path is not None:
        require_readable(path)
    elif Path(name).expanduser().is_symlink():
        sentence = _("dataset_id={name!r} is a link that leads nowhere: {target} is not there.")
        raise FileNotFoundError(sentence.format(name=name, target=Path(name).expanduser().readlink()))
    elif name.startswith(("/", "~", ".")) or name.count("/") > 1 or Path(name).suffix in READERS:
        sentence = _("dataset_id={name!r} is no file or folder here, and a hub id looks like owner/name.")
        raise FileNotFoundError(sentence.format(name=name))
    return path


def _sample(rows: Iterator, size: int, seed: int) -> Iterator:
    """`size` of the rows (0 = all), each equally likely, in their order; holds only `size` rows (Vitter 1985, R)."""
    if not size:
        yield from rows
        return
    pick, kept = random.Random(seed), list(enumerate(islice(rows, size)))
    for number, row in enumerate(rows, start=size):
        place = pick.randrange(number + 1)
        if place < size:
            kept[place] = (number, row)
    yield from (row for _number, row in sorted(kept, key=lambda item: item[0]))
