"""Which training rows are bad? All of them by their loss, worst first; those above what held-out rows reach are marked.

The loss is that of a model that has met each row once at most: later it knows them by heart, the bad ones as well. It
finds three in four of four kinds of bad rows, gradients three in five (`proofs/proof_influence.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from helpers.data.labels import encode_rows, encoded, in_rows
from helpers.data.split import row_hash
from helpers.evaluate.held_out import Surprise, surprises
from helpers.files import read_json, read_jsonl, sha256
from helpers.model.load import load_base_model
from helpers.model.lora import FILE, load_adapter
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.pictures import Picture, chart
from helpers.show.tables import GREY, RED, Table
from helpers.show.words import _
from helpers.train.checkpoints import complete_checkpoints, rows_per_step

FALSE = 0.05  # of the sound rows are marked, on average, at most
NEAR = 24  # characters before the most surprising token


class TooFewHeldOut(ValueError):
    """So few `rows` are held out that no limit is passed by a share of FALSE of them."""

    def __init__(self, rows: int):
        self.rows = rows
        sentence = _("{rows} held-out rows are too few to mark any: {needed} are needed (eval_fraction in 03).")
        super().__init__(sentence.format(rows=rows, needed=math.ceil(1 / FALSE) - 1))


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

    @property
    def twice(self) -> bool:
        """Whether it was measured under two models: an adapter of one epoch is the early one itself."""
        return self.late is not self.early


def early_checkpoint(run: RunDir) -> Path | None:
    """The last complete checkpoint within the first epoch, and not after the adapter's own step, which `keep` may have
    chosen; None where none is left (save_total_limit)."""
    kept = read_json(run.held_out)["step"] if run.held_out.exists() else math.inf
    rows = sum(1 for line in run.train_jsonl.open(encoding="utf-8") if line.strip())
    found = complete_checkpoints(run.trainer)
    within = [step for step, path in found.items() if step <= kept and step * (rows_per_step(path) or math.inf) <= rows]
    return found[max(within)] if within else None


def rows_by_loss(run: RunDir, config: RunConfig) -> list[RowLoss]:
    """Every training row, worst first, with its loss early in the training and at its end; the same where that is one.

    Raises FileNotFoundError before 04; of too few held-out rows it says so, and marks none.
    """
    run.require(run.train_jsonl, produced_by="03_data_preview.ipynb")
    run.require(run.adapter, produced_by="04_qlora_training.ipynb")
    from datasets import Dataset

    tokenizer = load_tokenizer(config)
    rows = list({row_hash(row): row for row in read_jsonl(run.train_jsonl)}.values())
    parts = zip(rows, encoded(rows, tokenizer, config.answer_only_loss, config.learn_thinking), strict=True)
    kept = [(row, part) for row, full in parts if full for part in in_rows(row, full, config.max_length) if part]
    train = Dataset.from_list([part for _row, part in kept])
    held_out = encode_rows(read_jsonl(run.eval_jsonl), tokenizer, config)
    late, limit = _measured(run.adapter, config, train, held_out)
    checkpoint, early = early_checkpoint(run), late
    if checkpoint and sha256(checkpoint / FILE) != sha256(run.adapter / FILE):  # of one epoch it is the adapter itself
        early, limit = _measured(checkpoint, config, train, held_out)
    found = []
    for (row, part), first, last in zip(kept, early, late, strict=True):
        ids = part["input_ids"][: first.place], [first.token], [first.instead]
        before, token, instead = (str(tokenizer.decode(some)).replace("\n", "↵") for some in ids)
        found.append(RowLoss(row, first, last, before[-NEAR:], token, instead, first.mean > limit))
    return sorted(found, key=lambda row: -row.early.mean)


def _measured(adapter: Path, config: RunConfig, train, held_out) -> tuple[list[Surprise], float]:
    """The training rows under an adapter, and the limit that its held-out rows set."""
    model = load_adapter(load_base_model(config), adapter)
    try:
        limit = mark_limit([row.mean for row in surprises(model, held_out)])
    except TooFewHeldOut as few:
        print(few)
        limit = math.inf
    return surprises(model, train, progress=adapter.name), limit


def mark_limit(held_out: list[float]) -> float:
    """The loss that at most a share of FALSE of sound rows passes on average: one of the largest of held-out rows.

    A sound training row is one more draw of the same kind, so it lies above the k-th largest of m with chance
    k / (m + 1) (conformal prediction; Vovk and others, Algorithmic Learning in a Random World, 2005). Training lowers
    its loss, which makes it rarer still. Raises TooFewHeldOut.
    """
    place = int((len(held_out) + 1) * FALSE)
    if not place:
        raise TooFewHeldOut(len(held_out))
    return sorted(held_out)[-place]


def suspects_table(found: list[RowLoss], most: int = 12) -> Table:
    """The worst rows: how surprised the model was, where most, and what it would have said in that place."""
    rows = []
    for number, row in enumerate(found[:most]):
        cells = {"no": number, "mark": _("look at this") if row.marked else ""}
        cells |= {"loss": f"{row.early.mean:.2f}"}
        cells |= {"at the end": f"{row.late.mean:.2f}"} if row.twice else {}
        cells |= {"surprised at": f"{row.before}[{row.token}]", "would have said": row.instead}
        rows.append(cells | {"row": row.row["messages"][-2:][0]["content"]})
    caption = _("{marked} of {rows} rows are marked. Of sound rows, {false:.0%} at most would be.")
    marked = sum(row.marked for row in found)
    return Table(rows, caption=caption.format(marked=marked, rows=len(found), false=FALSE))


def losses_chart(found: list[RowLoss]) -> Picture:
    """Every row as a dot, worst first: early in the training, and at its end; red where it is marked."""
    figure, axes = chart(7, 2.8)
    late, early = [row.late.mean for row in found], [row.early.mean for row in found]
    if any(row.twice for row in found):
        axes.plot(late, ".", color=GREY, label=_("at the end"), markersize=4)
    axes.plot(early, ".", color="C0", label=_("when it had met each row once at most"), markersize=4)
    marked = {place: row.early.mean for place, row in enumerate(found) if row.marked}
    axes.plot(list(marked), list(marked.values()), ".", color=RED, label=_("look at this"))
    axes.set(xlabel=_("training rows, worst first"), ylabel=_("loss (nats per token)"))
    axes.legend()
    told = _("The losses of {rows} training rows, worst first; {marked} are marked.")
    return Picture(figure, told.format(rows=len(found), marked=len(marked)))
