"""Best, not last: the complete checkpoint with the lowest held-out loss is kept, used, and told in words.

All decisions come from the losses in a checkpoint's trainer_state.json, so a resumed training decides the same.
"""

from __future__ import annotations

import hashlib
import json

from transformers import TrainerCallback

from helpers.evaluate.held_out import Scores, held_out_nll
from helpers.evaluate.intervals import WORSE, judge, paired_difference, told_interval
from helpers.files import read_json, write_json
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.checkpoints import checkpoints, fault, is_last, step_of


def held_out_losses(history: list[dict]) -> dict[int, float]:
    """Optimizer step -> held-out loss (nats per token), from the rows of `state.log_history`; step 0 is the base."""
    return {row["step"]: row["eval_loss"] for row in history if "eval_loss" in row}


def best_step(history: list[dict]) -> int | None:
    """The trained step with the lowest held-out loss, the earliest of equals; None before the first evaluation."""
    losses = {step: loss for step, loss in held_out_losses(history).items() if step}
    return min(losses, key=losses.get, default=None)


class KeepBest(TrainerCallback):
    """Saves a checkpoint at each evaluation that is the lowest so far; ends the training after `patience` that are not.

    Source of the stop: Prechelt, Early Stopping - But When? (1998), criterion UP in its plainest form. `patience` 0: never.
    """

    def __init__(self, config: RunConfig):
        self.keep, self.patience = config.keep, config.patience

    def on_evaluate(self, args, state, control, **kwargs):
        best = best_step(state.log_history)
        if best is None:
            return
        if self.keep == "best" and best == state.global_step:
            control.should_save = True
        since = sum(step > best for step in held_out_losses(state.log_history))
        if 0 < self.patience <= since and state.global_step < state.max_steps:
            if state.is_world_process_zero:
                print(
                    f"Stopped early: {since} evaluations since step {best} were not lower (patience={self.patience})."
                )
            state.max_steps = state.global_step  # this step is the last: the checkpoint says so too
            control.should_save = control.should_training_stop = True


def use_kept(trainer, run: RunDir, config: RunConfig) -> dict:
    """After the last step: put the adapter that `config.keep` names into the model, and measure it row by row.

    Writes held_out.json, prints what the curve says, and gives both: `step` (of the adapter), `last`, `told` (what the curve says, in words), and for every
    held-out row its `rows` key, `nll` (nats) and `tokens`. Two rows of two runs have the same key when they are the same
    tokens with the same labels. Raises RuntimeError when no complete checkpoint is left.
    """
    complete = {step_of(path): path for path in checkpoints(run.trainer) if fault(path) is None}
    if not complete or not is_last(complete[max(complete)]):
        raise RuntimeError(f"No complete last checkpoint in {run.trainer}: run the training cell again.")
    last = max(complete)
    history = read_json(complete[last] / "trainer_state.json")["log_history"]
    losses = {
        step: loss for step, loss in held_out_losses(history).items() if step in complete
    }  # not the base's, step 0
    best = min(losses, key=losses.get, default=last)
    rows = trainer.eval_dataset
    scores = {last: _score(trainer, complete[last], rows)}
    used, lowest = best if config.keep == "best" else last, best_step(history)
    if lowest != best and lowest is not None:
        print(
            f"checkpoint-{lowest} had the lowest held-out loss, and is not complete: checkpoint-{best} stands in for it."
        )
    if best != last:
        scores[best] = _score(trainer, complete[best], rows)
        if used == last:
            trainer.load_trained(complete[last])
    keys = [row_key(row) for row in rows]
    found = {"step": used, "last": last, "told": told(history, scores, best, config), "rows": keys}
    found |= {"nll": scores[used].nll, "tokens": scores[used].tokens}
    if trainer.is_world_process_zero():
        write_json(run.held_out, found)
        print(found["told"])
    trainer.accelerator.wait_for_everyone()  # the others read held_out.json, too
    return found


def row_key(row: dict) -> str:
    """What an encoded row is: a hash of its tokens and labels."""
    return hashlib.sha256(json.dumps([row["input_ids"], row["labels"]]).encode()).hexdigest()[:16]


def told(history: list[dict], scores: dict[int, Scores], best: int, config: RunConfig) -> str:
    """What the held-out curve says, in sentences; `scores` holds the best and the last step."""
    last, losses = max(scores), held_out_losses(history)
    used = best if config.keep == "best" else last
    if best == last:
        said = f"Held-out loss was lowest at the last step, {last}: no overfitting was seen."
    else:
        gap = paired_difference(scores[best].nll, scores[last].nll, scores[best].tokens)
        rose = f"{gap['difference']:+.2f} ({told_interval(gap['low'], gap['high'], '+.2f')}, {gap['rows']} rows)"
        before, after = _training_loss(history, best), _training_loss(history, last)
        training = f"training loss went from {before:.2f} to {after:.2f}"
        verdict = judge(gap)
        if verdict == WORSE and after < before:
            by = f"{gap['difference']:.2f} ({told_interval(gap['low'], gap['high'], '.2f')}, {gap['rows']} rows)"
            said = (
                f"Overfitting since step {best}: held-out loss rose by {by} up to step {last}, while training loss fell from "
                f"{before:.2f} to {after:.2f}."
            )
        elif verdict == WORSE:
            said = (
                f"Held-out loss changed by {rose} from step {best} to step {last}, and {training}: no overfitting, but "
            )
            said += "a training that breaks down; lower learning_rate."
        else:
            said = f"Held-out loss was lowest at step {best}; up to step {last} it changed by {rose}: "
            said += f"{verdict}. That is no proof of overfitting."
        said += f" The adapter of step {used} is used (keep={config.keep!r})."
    if 0 in losses and losses[used if used in losses else last] >= losses[0]:
        said += f" It is no better than the base, whose held-out loss was {losses[0]:.2f}: lower learning_rate."
    return said


def _score(trainer, checkpoint, rows) -> Scores:
    trainer.load_trained(checkpoint)
    trainer.model.eval()
    return held_out_nll(trainer.model, rows, trainer.args.per_device_eval_batch_size, progress=checkpoint.name)


def _training_loss(history: list[dict], step: int) -> float:
    """Mean of the training losses that were logged since the evaluation before `step`."""
    start = max((s for s in held_out_losses(history) if s < step), default=0)
    logged = [row["loss"] for row in history if "loss" in row and start < row["step"] <= step]
    return sum(logged) / len(logged) if logged else float("nan")
