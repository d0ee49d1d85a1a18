"""Rows and sizes of a data set of the hub; nothing that a data set brings is run."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from helpers.data.values import TableRow
from helpers.model.source import hub_revision
from helpers.settings import RunConfig
from helpers.show.words import _

SHUFFLE_BUFFER = 10_000  # rows in memory when a stream is sampled


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
        sentence = _refusal(config, str(error))
        if not sentence:
            raise
        raise ValueError(sentence) from None
    size = config.max_rows
    if size and not isinstance(rows, Dataset):
        return map(TableRow, rows.shuffle(seed=config.seed, buffer_size=SHUFFLE_BUFFER).take(size))
    if size and size < len(rows):
        rows = rows.select(sorted(random.Random(config.seed).sample(range(len(rows)), size)))
    return map(TableRow, rows)


def _refusal(config: RunConfig, error: str) -> str:
    """What to do about an error of `load_dataset`; "" when it speaks for itself."""
    data = config.dataset_id
    if "script" in error:
        sentence = _(
            "dataset_id={data!r} wants to run its own program, which is refused: the hub's Parquet copy needs none, "
            "try dataset_revision='refs/convert/parquet'."
        )
        return sentence.format(data=data)
    if listed := re.search(r"(?:among the available configs|Available): \[(.*?)\]", error):
        sentence = _("dataset_id={data!r} has the subsets {listed}: choose one with dataset_config (now {subset!r}).")
        return sentence.format(data=data, listed=listed[1], subset=config.dataset_config)
    if "split" in error.lower():
        sentence = _("dataset_split={split!r} is no part of {data!r}: {error}")
        return sentence.format(split=config.dataset_split, data=data, error=error)
    return ""
