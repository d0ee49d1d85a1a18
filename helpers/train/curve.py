"""What a training did: which step was best, is it overfitting, and how many of the adapter's numbers moved?"""

from __future__ import annotations

import math
from pathlib import Path

from safetensors.torch import load_file

from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import WORSE, judge, paired_difference, told_interval
from helpers.settings import RunConfig
from helpers.show.verdict import Verdict
from helpers.show.words import _
from helpers.train.checkpoints import complete_checkpoints

ENOUGH = 0.5  # share of the adapter's numbers; when fewer move, most updates are rounded away


def held_out_losses(history: list[dict]) -> dict[int, float]:
    """Optimizer step -> held-out loss (nats per token), from the rows of `state.log_history`; step 0 is the start."""
    return {row["step"]: row["eval_loss"] for row in history if "eval_loss" in row}


def best_step(history: list[dict]) -> int | None:
    """The trained step with the lowest held-out loss, the earliest of equals; None before the first evaluation."""
    losses = {step: loss for step, loss in held_out_losses(history).items() if step and math.isfinite(loss)}
    return min(losses, key=losses.__getitem__, default=None)


def training_loss(history: list[dict], step: int) -> float | None:
    """Mean of the training losses that were logged since the evaluation before `step`; None when there are none."""
    start = max((s for s in held_out_losses(history) if s < step), default=0)
    logged = [row["loss"] for row in history if "loss" in row and start < row["step"] <= step]
    return sum(logged) / len(logged) if logged else None


def summary(history: list[dict], scores: dict[int, Scores], best: int, config: RunConfig) -> str:
    """What the held-out curve says, in sentences; `scores` holds the best and the last step."""
    last, losses = max(scores), held_out_losses(history)
    used = best if config.keep == "best" else last
    text = _("Held-out loss was lowest at the last step, {step}: no overfitting was seen.").format(step=last)
    if best != last:
        kept = _("The adapter of step {step} is used (keep={keep}).").format(step=used, keep=repr(config.keep))
        text = f"{_since_the_best(history, scores, best)} {kept}"
    if 0 in losses and losses.get(used, losses[max(losses)]) >= losses[0]:
        sentence = _("It is no better than the base, whose held-out loss was {loss:.2f}: lower learning_rate.")
        if config.start_from:
            sentence = _("It is no better than the start, whose held-out loss was {loss:.2f}: lower learning_rate.")
        text += " " + sentence.format(loss=losses[0])
    return text


def _since_the_best(history: list[dict], scores: dict[int, Scores], best: int) -> str:
    """How the held-out loss went on from the best step to the last. The best is picked from all, so each has its share
    of the 5 % of false alarms."""
    last, picked = max(scores), len(held_out_losses(history)) - 1
    gap = paired_difference(scores[best].nll, scores[last].nll, scores[best].tokens, verdicts=max(picked, 1))
    verdict = judge(gap)
    form = ".2f" if verdict == WORSE else "+.2f"
    before, after = training_loss(history, best), training_loss(history, last)
    if verdict != WORSE:
        sentence = _(
            "Held-out loss was lowest at step {best}; up to step {last} it changed by {gap} ({interval}, {rows} rows): "
            "{verdict}. That is no proof of overfitting."
        )
    elif before is None or after is None:
        sentence = _(
            "Held-out loss rose by {gap} ({interval}, {rows} rows) from step {best} to step {last}. No training loss "
            "was logged there, so whether it is overfitting is unclear: lower logging_steps."
        )
    elif after < before:
        sentence = _(
            "Overfitting since step {best}: held-out loss rose by {gap} ({interval}, {rows} rows) up to step {last}, "
            "while training loss fell from {before:.2f} to {after:.2f}."
        )
    else:
        sentence = _(
            "Held-out loss rose by {gap} ({interval}, {rows} rows) from step {best} to step {last}, and training loss "
            "went from {before:.2f} to {after:.2f}: no overfitting, but a training that breaks down; lower "
            "learning_rate."
        )
    interval, names = told_interval(gap["low"], gap["high"], form), {"before": before, "after": after}
    names |= {"best": best, "last": last, "rows": gap["rows"], "gap": f"{gap['difference']:{form}}"}
    return sentence.format(**names, interval=interval, verdict=_(verdict))


def movement(folder: Path) -> str:
    """How many of the adapter's numbers changed between the two newest complete checkpoints, in words.

    Empty when there are not two.
    """
    complete = complete_checkpoints(folder)
    if len(complete) < 2:
        return ""
    after, before = list(complete)[:2]
    new, old = (load_file(complete[step] / "adapter_model.safetensors") for step in (after, before))
    moved = sum(int((weight != old[name]).sum()) for name, weight in new.items())
    share = moved / sum(weight.numel() for weight in new.values())
    verdict = Verdict.GREEN if share >= ENOUGH else Verdict.AMBER
    sentence = _("From step {before} to step {after}, {share:.0%} of the adapter's numbers moved ({verdict}).")
    text = sentence.format(before=before, after=after, share=share, verdict=verdict.word)
    if share < ENOUGH:
        text += " " + _("The others stood still: their updates are too small for their number format, or 0.")
    return text
