"""What a range test says about the learning rate, and a rule of thumb beside it.

Source of the rule: Schulman et al., LoRA Without Regret (2025), with the constants of tinker-cookbook:
5e-5 x 10 x (2000 / hidden size)^p, p 0.781 for Llama and 0.0775 for Qwen, at alpha 32 and scale alpha / r.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from helpers.show.pictures import Picture

BREAKS = 1.25  # times the lowest smoothed loss: a step above it, and all after it, have broken down
FALLS = 0.98  # times the first loss: the mean has to fall below it, or nothing was learned
BELOW = 10  # the suggestion is so much below the rate at which the loss breaks down
EXPONENTS = {"llama": 0.781, "qwen": 0.0775}


def breaking_rate(rows: list[dict]) -> float | None:
    """The learning rate from which on each loss lay above `BREAKS` times the lowest mean; None if it never did."""
    limit, rate = BREAKS * min((row["smooth"] for row in rows), default=0.0), None
    for row in reversed(rows):
        if row["loss"] <= limit:
            break
        rate = row["learning_rate"]
    return rate


def suggested_rate(rows: list[dict]) -> float | None:
    """A tenth of the rate at which the loss breaks down, or of the highest one tried; None when it never fell by 2 %.

    That of the lowest loss wanders with the noise of single batches, see proofs/bench_probe.py.
    """
    lowest = min((row["smooth"] for row in rows), default=math.inf)
    if not math.isfinite(lowest) or lowest > FALLS * rows[0]["smooth"]:
        return None
    return float(f"{(breaking_rate(rows) or rows[-1]['learning_rate']) / BELOW:.1g}")


def rule_of_thumb(config: RunConfig, hidden_size: int) -> float:
    """The learning rate of LoRA Without Regret for a model of that width, at any rank if scaled by 32 / r.

    Other scales, such as alpha / sqrt(r) of rsLoRA, change the first steps in proportion, which is made up for.
    """
    family = next((p for name, p in EXPONENTS.items() if name in config.model_id.lower()), EXPONENTS["llama"])
    scale = config.lora_alpha / (math.sqrt(config.lora_r) if config.use_rslora else config.lora_r)
    return 5e-5 * 10 * (2000 / hidden_size) ** family * (32 / config.lora_r) / scale


def suggestion(rows: list[dict], config: RunConfig, hidden_size: int) -> str:
    """What the test and the rule say, and why, in sentences."""
    suggested, breaks = suggested_rate(rows), breaking_rate(rows)
    rule = _("Rule of thumb (LoRA Without Regret, 2025): {rate:.1e} for a width of {width:,}, whatever the rank.")
    rule = rule.format(rate=rule_of_thumb(config, hidden_size), width=hidden_size)
    if suggested is None:
        test = _("The loss did not fall clearly in {steps} steps, so the test suggests nothing.")
        if rows and not math.isfinite(rows[0]["loss"]):
            test = _("The very first loss is not a number, so the test says nothing: look at the model and the data.")
        return f"{test.format(steps=len(rows))} {rule}"
    test = _("Range test: the loss did not break down up to {rate:.1e}; a tenth, {found:.0e}, is a careful guess.")
    if breaks is not None:
        test = _("Range test: the loss broke down at {rate:.1e}; a tenth of that, {found:.0e}, leaves room.")
    test = test.format(rate=breaks or rows[-1]["learning_rate"], found=suggested)
    fork = _("config.json has {rate:g}. To try it: fork with learning_rate={found:.0e}.")
    return f"{test} {rule} {fork.format(rate=config.learning_rate, found=suggested)}"


def probe_chart(rows: list[dict]) -> Picture:
    """Loss over the learning rate, with the suggestion."""
    from helpers.show.pictures import Picture, chart
    from helpers.show.tables import BLUE, GREY, ORANGE

    figure, axes = chart(6, 3)
    rates = [row["learning_rate"] for row in rows]
    axes.plot(rates, [row["loss"] for row in rows], color=GREY, alpha=0.5, label=_("each step"))
    axes.plot(rates, [row["smooth"] for row in rows], color=BLUE, label=_("running mean"))
    suggested = suggested_rate(rows)
    if suggested:
        axes.axvline(suggested, color=ORANGE, linestyle="--", label=_("suggested: {rate:.0e}").format(rate=suggested))
    axes.set(xscale="log", xlabel=_("learning rate"), ylabel=_("loss (nats per token)"))
    axes.legend(frameon=False)
    lowest = min(rows, key=lambda row: row["smooth"])
    alt = _("Range test from {first:.0e} to {last:.0e}: the loss's running mean is lowest, {loss:.2f}, at {rate:.0e}")
    values = {"loss": lowest["smooth"], "rate": lowest["learning_rate"]}
    return Picture(figure, alt.format(first=rates[0], last=rates[-1], **values))
