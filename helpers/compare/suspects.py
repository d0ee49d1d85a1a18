"""Which training rows are bad? All of them by their loss, worst first; those far above the others are marked.

The loss is that of a model that has met each row once at most: later it knows them by heart, the bad ones as well. On
the calendar data it finds more bad rows than the gradients do (`proofs/proof_influence.py`).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.data.labels import encoded, in_rows
from helpers.data.left_out import row_hash
from helpers.evaluate.surprise import Surprise, surprises
from helpers.files import read_jsonl
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.show.words import _
from helpers.train.checkpoints import complete_checkpoints, rows_per_step

FALSE = 1.0  # sound rows that are marked, on average, where the logarithms of their losses are bell-shaped
NEAR = 24  # characters before the most surprising token


@dataclass(frozen=True)
class RowLoss:
    """One row of the training part: its loss, first under a model that met it once at most, then under the adapter."""

    row: dict
    early: Surprise
    late: Surprise
    before: str  # the text that leads to the most surprising token of `early`
    token: str
    instead: str  # what that model would have said there
    marked: bool = False


def early_checkpoint(run: RunDir) -> Path | None:
    """The last complete checkpoint within the first epoch; None where none is left (save_total_limit)."""
    rows = sum(1 for line in run.train_jsonl.open(encoding="utf-8") if line.strip())
    found = complete_checkpoints(run.trainer)
    within = [step for step, path in found.items() if step * (rows_per_step(path) or math.inf) <= rows]
    return found[max(within)] if within else None


def rows_by_loss(run: RunDir, config: RunConfig) -> list[RowLoss]:
    """Every training row, worst first, with its loss early in the training and at its end.

    Raises FileNotFoundError before 04.
    """
    run.require(run.train_jsonl, produced_by="03_data_preview.ipynb")
    run.require(run.adapter, produced_by="04_qlora_training.ipynb")
    tokenizer = load_tokenizer(config)
    rows = list({row_hash(row): row for row in read_jsonl(run.train_jsonl)}.values())
    parts = zip(rows, encoded(rows, tokenizer, config.answer_only_loss, config.learn_thinking), strict=True)
    kept = [(row, part) for row, full in parts if full for part in in_rows(row, full, config.max_length) if part]
    late = _measured(run.adapter, config, [part for _row, part in kept], _("the adapter"))
    checkpoint, early = early_checkpoint(run), late
    if checkpoint:
        early = _measured(checkpoint, config, [part for _row, part in kept], checkpoint.name)
    found = []
    for (row, part), first, last in zip(kept, early, late, strict=True):
        place, context = first.place, tokenizer.decode(part["input_ids"][: first.place])
        token, instead = tokenizer.decode([part["input_ids"][place]]), tokenizer.decode([first.instead])
        found.append(RowLoss(row, first, last, context[-NEAR:], token, instead))
    limit = mark_limit([row.early.mean for row in found])
    marked = [replace(row, marked=row.early.mean > limit) for row in found]
    return sorted(marked, key=lambda row: -row.early.mean)


def _measured(adapter: Path, config: RunConfig, parts: list[dict], name: str) -> list[Surprise]:
    from datasets import Dataset

    return surprises(load_adapter(load_base_model(config), adapter), Dataset.from_list(parts), progress=name)


def mark_limit(losses: list[float], false: float = FALSE) -> float:
    """The loss above which `false` of so many sound rows lie, on average.

    Middle and spread are those of the lower three quarters, which the bad rows do not move: the logarithms are taken to
    be bell-shaped (median; distance to the lower quartile). Raises ValueError for fewer than 20 rows.
    """
    if len(losses) < 20:
        raise ValueError(_("{rows} rows are too few to say which are unlike the others.").format(rows=len(losses)))
    logs = [math.log(max(loss, 1e-6)) for loss in losses]
    lower, middle, _upper = statistics.quantiles(logs, n=4)
    normal = statistics.NormalDist()
    return math.exp(middle + normal.inv_cdf(1 - false / len(logs)) * (middle - lower) / normal.inv_cdf(0.75))


def suspects_table(found: list[RowLoss], most: int = 12) -> Table:
    """The worst rows: how surprised the model was, where most, and what it would have said in that place."""
    rows = []
    for number, row in enumerate(found[:most]):
        cells = {"no": number, "mark": _("look at this") if row.marked else ""}
        cells |= {"loss": f"{row.early.mean:.2f}", "at the end": f"{row.late.mean:.2f}"}
        cells |= {"surprised at": f"{row.before}[{row.token}]", "would have said": row.instead}
        rows.append(cells | {"row": row.row["messages"][-2 if len(row.row["messages"]) > 1 else -1]["content"]})
    caption = _("{marked} of {rows} rows are marked; of so many sound rows about {false:g} would be.")
    counts = {"marked": sum(row.marked for row in found), "rows": len(found), "false": FALSE}
    return Table(rows, caption=caption.format(**counts))
