"""Best, not last: the complete checkpoint with the lowest held-out loss is kept, used, and measured row by row.

It is decided by the losses in a checkpoint's trainer_state.json, so a resumed training decides the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import TrainerCallback

from helpers.files import read_json, write_json
from helpers.model.adapter import Untrained, refuse_untrained
from helpers.model.device import first_decides
from helpers.model.requantised import requantise
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.train.checkpoints import complete_checkpoints
from helpers.train.curve import best_step, held_out_losses, movement, summary
from helpers.train.failures import require_trained
from helpers.train.start import row_key, score, told_since_start

if TYPE_CHECKING:
    from helpers.train.trainer import LeanTrainer


def aware_from(config: RunConfig, steps: int) -> int:
    """The number of steps that are trained before merge_aware begins, of `steps` in all; 0 without merge_aware."""
    return math.floor(config.merge_aware_from * steps) if config.merge_aware else 0


@dataclass(frozen=True)
class HeldOut:
    """held_out.json: the adapter of `step`, of a training of `last` steps, on every held-out row.

    Two rows of two runs have the same key in `rows` when they are the same tokens with the same labels; `nll` in nats.
    """

    step: int
    last: int
    summary: str  # what the curve says; "told" in the file
    rows: list[str]
    nll: list[float]
    tokens: list[int]

    def write(self, run: RunDir) -> None:
        values = {"told" if name == "summary" else name: value for name, value in vars(self).items()}
        write_json(run.held_out, {"schema": 1, **values})

    @classmethod
    def read(cls, run: RunDir) -> HeldOut:
        """Raises FileNotFoundError, with the notebook that makes it."""
        run.require(run.held_out, produced_by="04_qlora_training.ipynb")
        values = read_json(run.held_out)
        return cls(*(values[name] for name in ("step", "last", "told", "rows", "nll", "tokens")))


class KeepBest(TrainerCallback):
    """Saves a checkpoint at each evaluation that is the lowest so far; ends the training after `patience` that are not.

    Source of the stop: Prechelt, Early Stopping - But When? (1998), criterion UP. `patience` 0: never.
    """

    def __init__(self, config: RunConfig):
        self.config, self.keep, self.patience = config, config.keep, config.patience or math.inf

    def on_evaluate(self, args, state, control, **kwargs):
        best = best_step(state.log_history)
        if best is None:  # the base alone has been evaluated
            return
        if self.keep == "best" and best == state.global_step:
            control.should_save = True
        since = sum(step > best for step in held_out_losses(state.log_history))
        if since >= self.patience and aware_from(self.config, state.max_steps) < state.global_step < state.max_steps:
            if state.is_world_process_zero:
                note = _("Stopped early: {count} evaluations since step {step} were not lower (patience={patience}).")
                print(note.format(count=since, step=best, patience=self.patience))
            state.max_steps = state.global_step  # this step is the last: the checkpoint says so too
            control.should_save = control.should_training_stop = True


def use_kept(trainer: LeanTrainer, run: RunDir, config: RunConfig) -> HeldOut:
    """After the last step: put the adapter that `config.keep` names into the model, and measure it row by row.

    Writes held_out.json and prints what the curve says. Raises NotFinished when no complete last checkpoint is left.
    """
    require_trained(run)
    if config.merge_aware:
        requantise(trainer.model)
    complete = first_decides(complete_checkpoints(run.trainer))  # how many are measured is the same in every process
    last = max(complete)
    history = read_json(complete[last] / "trainer_state.json")["log_history"]
    lowest = best_step(history)
    best = best_step([row for row in history if row["step"] in complete]) or last
    if lowest not in (None, best):
        note = _("checkpoint-{lowest} had the lowest held-out loss, and is not complete: checkpoint-{best} is used.")
        print(note.format(lowest=lowest, best=best))
    used = best if config.keep == "best" else last
    scores = {step: score(trainer, complete[step]) for step in {last, best}}
    trainer.load_trained(complete[used])
    text = summary(history, scores, best, config)
    try:
        refuse_untrained(complete[used])
    except Untrained as error:
        text += f" {error}"
    rows = [row_key(row) for row in trainer.eval_dataset]
    kept = HeldOut(used, last, text, rows, scores[used].nll, scores[used].tokens)
    if trainer.is_world_process_zero():
        kept.write(run)
        print(conclusion(run, []))
    trainer.accelerator.wait_for_everyone()  # the others read held_out.json, too
    return kept


def conclusion(run: RunDir, rows: list[dict]) -> str:
    """What the finished training says of itself; how far it is when it is not; `rows` of metrics.jsonl."""
    if not run.held_out.exists():
        sentence = _("This training is not finished: step {step} of {last} so far. Run the training cell; it goes on.")
        known = rows[-1] if rows else {"step": 0, "max_steps": "?"}
        return sentence.format(step=known["step"], last=known["max_steps"])
    told = (HeldOut.read(run).summary, told_since_start(run), movement(run.trainer))
    return "\n".join(filter(None, told))
