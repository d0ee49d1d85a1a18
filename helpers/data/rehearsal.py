"""Conversations that are not the data set's own: general ones for rehearsal, and those of the run before.

Rehearsal: general conversations mixed into the training part, so that what the base could do is not forgotten. Source:
Robins, Catastrophic forgetting, rehearsal and pseudorehearsal (1995); for language models Scialom et al. (2022), who
find that one percent can be enough. What it does here is measured by 06 (evaluate/forgetting.py), on other texts.
"""

import random
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from helpers.data.split import conversation_key
from helpers.data.turns import listed_turns
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _

OWN = "notebooks/data/rehearsal.jsonl"
KOREAN = "notebooks/data/rehearsal_ko.jsonl"  # half of it; for a training part in Korean
LOOKED_AT = 20_000  # characters of the training part
SOURCE = "rehearsal"  # of its rows in train.jsonl
MARK = "earlier"  # of the old run's held-out rows in eval.jsonl; in data_report.json how many they are


def rehearsal_rows(config: RunConfig, conversations: int) -> int:
    """How many general conversations make `config.rehearsal_fraction` of all, beside so many of the data set's own."""
    return max(1, round(conversations * config.rehearsal_fraction / (1 - config.rehearsal_fraction)))


def rehearsal_config(config: RunConfig, wanted: int, train: Path, learned: Path | None = None) -> RunConfig:
    """The settings with which the general conversations are read: of a large set, a few times more than are `wanted`.

    `learned`: the rows that the adapter was trained on from which this training begins. The project's own are those in
    the language of `train`, the training part.
    """
    plain: dict[str, Any] = {"dataset_config": "", "dataset_split": "train", "dataset_revision": ""}
    plain |= {"dataset_format": "auto", "max_rows": 4 * wanted}  # some are dropped
    with train.open(encoding="utf-8") as file:
        own = KOREAN if re.search("[가-힣]", file.read(LOOKED_AT)) else OWN
    return replace(config, dataset_id=config.rehearsal_dataset_id or str(learned or own), **plain)


def own_conversations() -> list[dict]:
    """All general conversations of the project, in English and Korean."""
    rows = [row for name in (OWN, KOREAN) for row in read_jsonl(PROJECT_ROOT / name)]
    return [{"messages": listed_turns([row["question"], row["answer"]], [])} for row in rows]


def append_rehearsal(train: Path, lines: list[str], config: RunConfig, wanted: int) -> None:
    """Append `wanted` of `lines` to `train`, drawn by config.seed, and repeated only where there are too few.

    Raises ValueError when there is none.
    """
    if not lines:
        sentence = _(
            "rehearsal_dataset_id={data!r} has no conversation that training can use: take another, or set "
            "rehearsal_fraction=0."
        )
        raise ValueError(sentence.format(data=config.dataset_id))
    drawn = random.Random(config.seed).sample(lines, len(lines))
    with train.open("a", encoding="utf-8") as file:
        file.writelines(drawn[i % len(drawn)] for i in range(wanted))


@dataclass(frozen=True)
class Earlier:
    """Rows that `fork(..., start_from="adapter")` took over: held-out ones stay so, learned ones can be rehearsed."""

    held_out: list[dict] = field(default_factory=list)
    train: Path | None = None

    @classmethod
    def of(cls, run: RunDir, config: RunConfig) -> "Earlier":
        files = [run.start / path.name for path in (run.train_jsonl, run.eval_jsonl)]
        if config.start_from != "adapter" or not all(path.exists() for path in files):
            return cls()
        return cls([{**row, MARK: True} for row in read_jsonl(files[1])], files[0])

    def learned(self) -> list[dict]:
        """The rows that the adapter was trained on."""
        return read_jsonl(self.train) if self.train else []

    def among(self, rows: list[dict], seed: int) -> list[dict]:
        """`rows` and the old held-out ones in the order of the draw, so that the first are a sample of both."""
        if not self.held_out:
            return rows
        return sorted([*rows, *self.held_out], key=lambda row: conversation_key(row["messages"], seed))
