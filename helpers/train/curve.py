"""What the two loss curves of a training say: which step was best, and is it overfitting?"""

from __future__ import annotations

from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import WORSE, judge, paired_difference, told_interval
from helpers.settings import RunConfig
from helpers.show.words import _


def held_out_losses(history: list[dict]) -> dict[int, float]:
    """Optimizer step -> held-out loss (nats per token), from the rows of `state.log_history`; step 0 is the base."""
    return {row["step"]: row["eval_loss"] for row in history if "eval_loss" in row}


def best_step(history: list[dict]) -> int | None:
    """The trained step with the lowest held-out loss, the earliest of equals; None before the first evaluation."""
    losses = {step: loss for step, loss in held_out_losses(history).items() if step}
    return min(losses, key=losses.get, default=None)


def training_loss(history: list[dict], step: int) -> float | None:
    """Mean of the training losses that were logged since the evaluation before `step`; None when there are none."""
    start = max((s for s in held_out_losses(history) if s < step), default=0)
    logged = [row["loss"] for row in history if "loss" in row and start < row["step"] <= step]
    return sum(logged) / len(logged) if logged else None


def summary(history: list[dict], scores: dict[int, Scores], best: int, config: RunConfig) -> str:
    """What the held-out curve says, in sentences; `scores` holds the best and the last step."""
    last, losses = max(scores), held_out_losses(history)
    used = best if config.keep == "best" else last
    said = [_("Held-out loss was lowest at the last step, {step}: no overfitting was seen.").format(step=last)]
    if best != last:
        kept = _("The adapter of step {step} is used (keep={keep}).").format(step=used, keep=repr(config.keep))
        said = [_since_the_best(history, scores, best), kept]
    if 0 in losses and losses.get(used, losses[max(losses)]) >= losses[0]:
        low = _("It is no better than the base, whose held-out loss was {loss:.2f}: lower learning_rate.")
        said.append(low.format(loss=losses[0]))
    return " ".join(said)


def _since_the_best(history: list[dict], scores: dict[int, Scores], best: int) -> str:
    """How the held-out loss went on from the best step to the last. The best is picked from all, so each has its share of
    the 5 % of false alarms."""
    last, picked = max(scores), len(held_out_losses(history)) - 1
    gap = paired_difference(scores[best].nll, scores[last].nll, scores[best].tokens, verdicts=max(picked, 1))
    verdict, form = judge(gap), ".2f" if judge(gap) == WORSE else "+.2f"
    before, after = training_loss(history, best), training_loss(history, last)
    names = {"best": best, "last": last, "rows": gap["rows"], "gap": f"{gap['difference']:{form}}"}
    names |= {"interval": told_interval(gap["low"], gap["high"], form), "before": before, "after": after}
    if verdict != WORSE:
        said = _(
            "Held-out loss was lowest at step {best}; up to step {last} it changed by {gap} ({interval}, {rows} rows): "
            "{verdict}. That is no proof of overfitting."
        )
        return said.format(**names, verdict=_(verdict))
    if before is None or after is None:
        said = _(
            "Held-out loss rose by {gap} ({interval}, {rows} rows) from step {best} to step {last}. No training loss was "
            "logged there, so whether it is overfitting is unclear: lower logging_steps."
        )
    elif after < before:
        said = _(
            "Overfitting since step {best}: held-out loss rose by {gap} ({interval}, {rows} rows) up to step {last}, while "
            "training loss fell from {before:.2f} to {after:.2f}."
        )
    else:
        said = _(
            "Held-out loss rose by {gap} ({interval}, {rows} rows) from step {best} to step {last}, and training loss went "
            "from {before:.2f} to {after:.2f}: no overfitting, but a training that breaks down; lower learning_rate."
        )
    return said.format(**names)
