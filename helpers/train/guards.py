"""What stops a training before it does harm: one `TrainerCallback` for each reason."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, cast

from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback

from helpers.files import folder_bytes, free_bytes, write_atomic
from helpers.model.device import first_decides, sharded
from helpers.model.lora import trained_weights
from helpers.runs.directory import ChangedRows
from helpers.show.units import human_bytes
from helpers.show.words import _
from helpers.train.checkpoints import checkpoints

SKIPPED = 32  # fp16 steps in a row: the loss scale, halved by each, has fallen from 2^16 to 2^-16


class LossGuard(TrainerCallback):
    """Stops when the loss, its gradient or a trained weight is not a number, or the loss is 0, before it is saved.

    Under fp16 a gradient that overflows is no fault, as its step is skipped, but `SKIPPED` such steps in a row are.
    `labels` False: a loss of 0 is no fault either (DPO then tells every pair apart).
    """

    def __init__(self, labels: bool = True):
        self.labels = labels

    def on_train_begin(self, args, state, control, **kwargs):
        self.skipped, rising = 0, args.get_warmup_steps(state.max_steps)
        if rising >= state.max_steps > 1:
            sentence = _(
                "The learning rate rises for {rising} steps (warmup_steps={warmup:g}) and the training has {steps}: it "
                "ends before it reaches learning_rate={rate:g}. Lower warmup_steps."
            )
            values = {"warmup": args.warmup_steps, "steps": state.max_steps, "rate": args.learning_rate}
            print(sentence.format(rising=rising, **values))

    def on_step_end(self, args, state, control, optimizer=None, **kwargs):
        if control.should_save or control.should_evaluate:  # before a save, so that a bad step is never saved;
            control.should_log = True  # at an evaluation, since the best is saved there and the two losses are compared
        self.skipped = self.skipped + 1 if getattr(optimizer, "step_was_skipped", False) else 0
        if self.skipped >= SKIPPED:
            sentence = _(
                "{count} steps in a row were skipped up to step {step}: their gradients overflow float16 at any loss "
                "scale. Set compute_dtype='float32' in a new run, or take a card with bfloat16 (compute capability "
                "8.0)."
            )
            raise FloatingPointError(sentence.format(count=SKIPPED, step=state.global_step))

    def on_log(self, args, state, control, logs, model=None, **kwargs):
        for name in ("loss", "eval_loss") if args.fp16 else ("loss", "eval_loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                self._broken(name, logs[name], args, state)
        if model and control.should_save and not all(w.isfinite().all() for w in trained_weights(model).values()):
            self._broken(_("a trained weight"), math.nan, args, state)
        if self.labels and logs.get("loss") == 0.0:
            sentence = _("loss is exactly 0 at step {step}: no token has a label. Look at the label X-ray in 03.")
            raise ValueError(sentence.format(step=state.global_step))

    def _broken(self, name: str, value: float, args, state):
        sentence = _(
            "{name} is {value} at step {step}: training has broken down. Lower learning_rate (now {rate:g}) in a "
            "new run; the checkpoints before this step are sound."
        )
        if not state.global_step:
            sentence = _(
                "{name} is {value} before the first step: the model or the data gives numbers that do not fit its "
                "format. Set compute_dtype to bfloat16 or float32, and look at the data in 03."
            )
        values = {"step": state.global_step, "rate": args.learning_rate}
        raise FloatingPointError(sentence.format(name=name, value=value, **values))


class DiskGuard(TrainerCallback):
    """Stops before a save that would not fit. Where free space is unknown (network volumes), see failures.py."""

    def __init__(self, folder: Path, keep: int):
        self.folder, self.keep = folder, keep

    def on_train_begin(self, args, state, control, model: Any = None, **kwargs):
        self.needed = checkpoint_bytes(model)
        # one more than is kept: the new one is written before the oldest is deleted
        self.check((self.keep + 1) * self.needed - folder_bytes(self.folder), _("training"))

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save:
            self.check(self.needed, _("the checkpoint of step {step}").format(step=state.global_step))

    on_evaluate = on_step_end  # the best so far is saved after its evaluation

    def check(self, needed: int, purpose: str) -> None:
        """Raises OSError, in every process, when the first one finds less than `needed` bytes free."""
        free = first_decides(free_bytes(self.folder))
        if free is None or free >= needed:
            return
        sentence = _(
            "The disk is full: {purpose} needs {needed}, {free} are free at {folder}. Checkpoints there: {names}. Make "
            "room, then run the training cell again: it resumes from the last one."
        )
        names = ", ".join(path.name for path in checkpoints(self.folder)) or _("none")
        sizes = {"needed": human_bytes(needed), "free": human_bytes(free)}
        raise OSError(sentence.format(purpose=purpose, **sizes, folder=self.folder, names=names))


class FreshStart(TrainerCallback):
    """Refuses to start at step 0 with an adapter that has already been trained here, after an interrupted sitting."""

    used = False

    def on_train_begin(self, args, state, control, **kwargs):
        if self.used and state.global_step == 0:
            note = _("This adapter is no longer fresh: run the cell that loads the model again, then this one.")
            raise RuntimeError(note)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.used = True  # not before: a guard that stops at the start has changed nothing


class SameRows(TrainerCallback):
    """A training goes on with the very rows that it began with: tokens, labels and their order."""

    def __init__(self, folder: Path):
        self.file = folder / "rows.sha256"

    def on_train_begin(self, args, state, control, train_dataloader: Any = None, **kwargs):
        digest = rows_digest(train_dataloader.dataset)
        if not state.global_step and state.is_world_process_zero:
            write_atomic(self.file, digest)
        elif state.global_step and self.file.exists() and self.file.read_text() != digest:
            sentence = _(
                "The rows are not those that this training began with, so it cannot go on from step {step}: data, "
                "template or pairs have changed. Take another run_name, or delete {folder} to begin anew."
            )
            raise ChangedRows(sentence.format(step=state.global_step, folder=self.file.parent), self.file)


def rows_digest(rows: Dataset) -> str:
    """SHA-256 over the tokens and labels of all rows, or over their texts, in their order."""
    digest = hashlib.sha256()
    names = sorted(name for name in rows.column_names if name.endswith(("ids", "labels")))
    if not names:  # prompts, whose answers the training writes itself
        return hashlib.sha256(repr(rows.to_list()).encode()).hexdigest()
    for batch in cast(Any, rows.select_columns(names).with_format("numpy").iter(1000)):
        for name in names:
            for ids in batch[name]:
                digest.update(f"{name} {len(ids)} ".encode() + ids.astype("int64").tobytes())
    return digest.hexdigest()


def checkpoint_bytes(model: PreTrainedModel) -> int:
    """About what one checkpoint takes: trained weights (FSDP writes them twice), two 32-bit states, a tokenizer."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return sum(weight.numel() * (weight.element_size() * (1 + sharded()) + 8) for weight in trained) + 20_000_000
