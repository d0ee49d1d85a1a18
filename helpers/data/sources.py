"""Raw rows of a data set, one at a time: from a local CSV, JSON, JSONL or Parquet file or folder, or from the hub."""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from helpers.config import RunConfig, local_path
from helpers.model.source import folder_digest, hub_revision

SHUFFLE_BUFFER = 10_000  # rows in memory when a stream is sampled


def data_revision(config: RunConfig) -> str:
    """What is really read, to be recorded: the hub commit, or "sha256:..." over the local files."""
    path = _local(config)
    return folder_digest(path) if path else _hub_info(config).sha


def data_size(config: RunConfig) -> int:
    """Bytes of the local files, or the most that the hub will send for all parts of the data set."""
    if path := _local(config):
        return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    return sum(file.size or 0 for file in _hub_info(config).siblings)


def _hub_info(config: RunConfig):
    from huggingface_hub import HfApi

    revision = hub_revision(config.dataset_revision)
    return HfApi().dataset_info(config.dataset_id, revision=revision, files_metadata=True)


def read_rows(config: RunConfig) -> Iterator[dict | str]:
    """The rows as they are, one at a time; what is not a row comes as the text of its line.

    With config.max_rows a random sample of that many, drawn with config.seed and kept in the file's order, so that a
    sorted file is not cut to its head. Raises ValueError for an unknown kind of file or a data set that brings a script.
    """
    if path := _local(config):
        return _sample(_file_rows(path), config.max_rows, config.seed)
    return _hub_rows(config)


def _local(config: RunConfig) -> Path | None:
    """The local file or folder, or None for a hub id; FileNotFoundError when it looks local and is not there."""
    name, path = config.dataset_id, local_path(config.dataset_id)
    if path is None and (name.startswith(("/", "~", ".")) or name.count("/") > 1 or Path(name).suffix in READERS):
        raise FileNotFoundError(f"dataset_id={name!r} is no file or folder here, and a hub id looks like owner/name.")
    return path


def _hub_rows(config: RunConfig) -> Iterator[dict]:
    """Rows of a hub data set; with config.dataset_streaming nothing is stored and a sample is drawn from a buffer."""
    from datasets import load_dataset

    if config.dataset_streaming and "[" in config.dataset_split:
        raise ValueError(
            f"dataset_split={config.dataset_split!r} cannot be streamed: use {config.dataset_split.split('[')[0]!r} "
            "and max_rows, or dataset_streaming=False."
        )
    try:
        rows = load_dataset(
            config.dataset_id,
            split=config.dataset_split,
            revision=hub_revision(config.dataset_revision),
            streaming=config.dataset_streaming,
        )
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        raise ValueError(
            f"dataset_id={config.dataset_id!r} wants to run its own program, which is refused: the hub's Parquet copy "
            "needs none, try dataset_revision='refs/convert/parquet'."
        ) from None
    if config.max_rows and config.dataset_streaming:
        return iter(rows.shuffle(seed=config.seed, buffer_size=SHUFFLE_BUFFER).take(config.max_rows))
    if config.max_rows and config.max_rows < len(rows):
        rows = rows.select(sorted(random.Random(config.seed).sample(range(len(rows)), config.max_rows)))
    return iter(rows)


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


def _file_rows(path: Path) -> Iterator[dict | str]:
    """Rows of a file, or of all data files of a folder in the order of their names."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in READERS)
    if not files or files[0].suffix.lower() not in READERS:
        raise ValueError(f"{path.name} holds no data file that is known: use {', '.join(READERS)}.")
    for file in files:
        try:
            yield from READERS[file.suffix.lower()](file)
        except UnicodeDecodeError:
            raise ValueError(
                f"{file.name} is not in UTF-8. Korean files are often in CP949: "
                f"convert it with `iconv -f cp949 -t utf-8 {file.name} > new{file.suffix}`."
            ) from None


def _csv_rows(path: Path, delimiter: str = ",") -> Iterator[dict | str]:
    csv.field_size_limit(sys.maxsize)  # the standard limit, 131,072 characters, is shorter than a long conversation
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file, delimiter=delimiter):
            broken = None in row or None in row.values()
            yield json.dumps(row, ensure_ascii=False, default=str, skipkeys=True) if broken else row


def _tsv_rows(path: Path) -> Iterator[dict | str]:
    return _csv_rows(path, delimiter="\t")


def _jsonl_rows(path: Path) -> Iterator[dict | str]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                try:
                    yield json.loads(line)
                except (json.JSONDecodeError, RecursionError):
                    yield line


def _json_rows(path: Path) -> Iterator[dict | str]:
    """A list of objects, an object that holds one list, or JSON lines under the name .json."""
    with path.open(encoding="utf-8-sig") as file:
        try:
            whole = json.load(file)
        except json.JSONDecodeError:
            yield from _jsonl_rows(path)
            return
    lists = [value for value in whole.values() if isinstance(value, list)] if isinstance(whole, dict) else [whole]
    yield from lists[0] if len(lists) == 1 and isinstance(lists[0], list) else [whole]


def _parquet_rows(path: Path) -> Iterator[dict]:
    from pyarrow.parquet import ParquetFile

    for batch in ParquetFile(path).iter_batches(batch_size=1000):
        yield from batch.to_pylist()


READERS = {
    ".jsonl": _jsonl_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
    ".tsv": _tsv_rows,
    ".parquet": _parquet_rows,
}
