"""The rows of the run whose adapter a training begins from: what was held out stays held out, what was learned can be
rehearsed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from helpers.data.split import conversation_key
from helpers.files import read_jsonl
from helpers.runs import RunDir
from helpers.settings import RunConfig

MARK = "earlier"  # of the old run's held-out rows in eval.jsonl; in data_report.json how many they are


@dataclass(frozen=True)
class Earlier:
    """What `fork(..., start_from="adapter")` took over; empty for every other run."""

    held_out: list[dict] = field(default_factory=list)
    train: Path | None = None

    @classmethod
    def of(cls, run: RunDir, config: RunConfig) -> Earlier:
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
