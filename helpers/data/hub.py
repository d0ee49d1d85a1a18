"""Rows and sizes of a data set of the hub; nothing that a data set brings is run."""

import random
import re
from collections.abc import Iterator

from helpers.data.values import TableRow
from helpers.model.source import hub_revision
from helpers.settings import RunConfig
from helpers.show.words import _

SHUFFLE_BUFFER = 10_000  # rows in memory when a stream is sampled
LISTED = re.compile(r"(?:among the available configs|Available): \[(.*?)\]")  # subsets, in the library's words


def hub_info(config: RunConfig):
    """The hub's own account of a data set: commit, files and their sizes."""
    from huggingface_hub import HfApi

    revision = hub_revision(config.dataset_revision)
    return HfApi().dataset_info(config.dataset_id, revision=revision, files_metadata=True)


def hub_rows(config: RunConfig) -> Iterator[dict]:
    """Rows of a hub data set; with config.dataset_streaming nothing is stored and a sample is drawn from a buffer."""
    from datasets import Dataset, load_dataset

    if config.dataset_streaming and "[" in config.dataset_split:
        sentence = _(
            "dataset_split={split!r} cannot be streamed: use {part!r} and max_rows, or dataset_streaming=False."
        )
        raise ValueError(sentence.format(split=config.dataset_split, part=config.dataset_split.split("[")[0]))
    named = {"name": config.dataset_config or None, "split": config.dataset_split}
    named |= {"revision": hub_revision(config.dataset_revision), "streaming": config.dataset_streaming}
    try:
        rows = load_dataset(config.dataset_id, **named)
    except (RuntimeError, ValueError) as error:
        if not (sentence := _refusal(str(error))):
            raise
        values = {"data": config.dataset_id, "subset": config.dataset_config, "split": config.dataset_split}
        listed = LISTED.search(str(error))
        raise ValueError(sentence.format(**values, listed=listed and listed[1], error=error)) from None
    size = config.max_rows
    if size and not isinstance(rows, Dataset):
        return map(TableRow, rows.shuffle(seed=config.seed, buffer_size=SHUFFLE_BUFFER).take(size))
    if size and size < len(rows):
        rows = rows.select(sorted(random.Random(config.seed).sample(range(len(rows)), size)))
    return map(TableRow, rows)


def _refusal(error: str) -> str:
    """What to do about an error of `load_dataset`; "" when it speaks for itself."""
    if "script" in error:
        return _(
            "dataset_id={data!r} wants to run its own program, which is refused: the hub's Parquet copy needs none, "
            "try dataset_revision='refs/convert/parquet'."
        )
    if LISTED.search(error):
        return _("dataset_id={data!r} has the subsets {listed}: choose one with dataset_config (now {subset!r}).")
    return _("dataset_split={split!r} is no part of {data!r}: {error}") if "split" in error.lower() else ""
