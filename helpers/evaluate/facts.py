"""The facts that the gate weighs: each is a difference or a count, judged at its share of the 5 % of all of them.

Doing harm has to be proven, at 5 % / facts each (Bonferroni), so that a model without any is stopped once in twenty
times at most. What was asked for has to be proven as well, each at 5 %: a model that lacks one of them is passed once
in twenty. Every sentence says how small an effect would have been seen (4 times in 5). `proofs/proof_gate.py` counts
both errors.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from helpers.evaluate.intervals import (
    ALPHA,
    BETTER,
    MARGINS,
    NLL,
    TOO_FEW,
    WORSE,
    judge,
    mean_interval,
    t_quantile,
    told_count,
    wilson_interval,
)
from helpers.show.words import _

SHIP, STOP, UNDECIDED = 0, 1, 2
POWER = 0.8  # how often the smallest effect is seen
MOST = 10**5  # rows that are worth advising


@dataclass(frozen=True)
class Reason:
    """One fact of the gate, and what follows from it alone."""

    code: int
    sentence: str


def at_level(gap: dict, facts: int) -> dict:
    """A `paired_difference` with the interval that it has as one of so many; as it is where an older file has none."""
    if gap.get("low") is None or "level" not in gap:
        return gap
    factor = t_quantile(gap["rows"] - 1, ALPHA / facts) / t_quantile(gap["rows"] - 1, 1 - gap["level"])
    low, high = (gap["difference"] + factor * (gap[end] - gap["difference"]) for end in ("low", "high"))
    return {**gap, "low": low, "high": high, "level": 1 - ALPHA / facts}


def verdict_of(gap: dict, number: str, facts: int) -> str:
    """The verdict at that level; an older file's own where it has no interval."""
    return judge(at_level(gap, facts), number) if gap.get("low") is not None and "level" in gap else gap["verdict"]


def smallest(gap: dict, number: str, facts: int) -> str:
    """How small an effect would have been seen, in words; "" where nothing is known of it."""
    wide = at_level(gap, facts)
    if wide.get("low") is None or "level" not in wide:
        return ""
    error = (wide["high"] - wide["low"]) / 2 / t_quantile(wide["rows"] - 1, ALPHA / facts)
    seen = (wide["high"] - wide["low"]) / 2 + statistics.NormalDist().inv_cdf(POWER) * error + MARGINS[number]
    return " " + _("An effect of {seen:.2f} would have been seen.").format(seen=seen)


def rows_needed(gap: dict, number: str, facts: int) -> str:
    """How many rows would prove a difference of this size, in words."""
    wide, room = at_level(gap, facts), abs(gap["difference"]) - MARGINS[number]
    rows = math.ceil(gap["rows"] * ((wide["high"] - wide["low"]) / 2 / room) ** 2) if room > 0 else MOST
    if rows >= MOST:
        return _("No number of rows would tell: the difference is no larger than the margin.")
    return _("About {rows} rows would tell, if it stays as it is.").format(rows=max(rows, gap["rows"] + 1))


def harm(gap: dict, what: str, number: str, facts: int) -> Reason:
    """A difference that must not be a loss: only a proven one stops."""
    verdict = verdict_of(gap, number, facts)
    if verdict == WORSE:
        return Reason(STOP, _("{what}: worse.").format(what=what))
    if verdict == TOO_FEW and "level" in gap:
        return Reason(UNDECIDED, _("{what}: too few rows.").format(what=what))
    return Reason(SHIP, _("{what}: no loss is proven.").format(what=what) + smallest(gap, number, facts))


def gain(gap: dict, what: str, facts: int, seeds: list[float] | None = None) -> Reason:
    """A difference that has to be a gain: over rows and, where there are `seeds` (one difference each), over them."""
    verdict = verdict_of(gap, NLL, facts)
    if verdict == WORSE:
        return Reason(STOP, _("{what}: worse.").format(what=what))
    if verdict != BETTER:
        needed = " " + rows_needed(gap, NLL, facts) if gap.get("low") is not None else ""
        return Reason(UNDECIDED, _("{what}: no gain is proven.").format(what=what) + needed)
    told = _("{what}: {difference:+.3f} nats, a proven gain.").format(what=what, difference=gap["difference"])
    told += smallest(gap, NLL, facts)
    if not seeds or len(seeds) < 2:
        return Reason(SHIP, told + " " + _("One seed: the luck of the training is not in it."))
    _low, high = mean_interval(seeds)
    if high < -MARGINS[NLL]:
        return Reason(SHIP, told + " " + _("So do {seeds} seeds say.").format(seeds=len(seeds)))
    return Reason(UNDECIDED, f"{told} {seeds_needed(seeds)}")


def seeds_needed(gains: list[float]) -> str:
    """How many seeds would prove this mean, in words."""
    room, spread = abs(statistics.fmean(gains)) - MARGINS[NLL], statistics.stdev(gains)
    enough = (k for k in range(len(gains) + 1, 101) if t_quantile(k - 1, ALPHA) * spread / math.sqrt(k) < room)
    seeds = next(enough, None) if room > 0 else None
    if seeds is None:
        return _("But {given} seeds do not prove it, and a hundred would not.").format(given=len(gains))
    return _("But {given} seeds do not prove it; {seeds} would.").format(given=len(gains), seeds=seeds)


def required(counted: dict, model: str, check: tuple[str, str, float], facts: int) -> Reason:
    """A check with a threshold. It holds where its 95 % interval does; it fails where the one at this level does."""
    name, sign, share = check
    if model not in counted or not counted.get("of"):
        sentence = _("{check} was not measured on the {model} model: set `checks` and run 06.")
        return Reason(UNDECIDED, sentence.format(check=name, model=model))
    passed, of = counted[model], counted["of"]
    told = f"{model}: {name} {sign} {share:g}: {told_count(passed, of)}"
    if _holds(passed, of, sign, share):
        return Reason(SHIP, _("{told}: holds.").format(told=told))
    low, high = wilson_interval(passed, of, facts)
    if high < share if sign == ">=" else low > share:
        return Reason(STOP, _("{told}: does not hold.").format(told=told))
    sizes = (round(of * 1.1**i) for i in range(1, 100))
    rows = next((rows for rows in sizes if _decides(passed / of, rows, sign, share, facts)), MOST)
    told = _("{told}: so few rows cannot tell.").format(told=told)
    if rows < MOST:
        told += " " + _("About {rows} rows would tell, if it stays as it is.").format(rows=rows)
    return Reason(UNDECIDED, told)


def _holds(passed: float, of: int, sign: str, share: float) -> bool:
    low, high = wilson_interval(passed, of)
    return low >= share if sign == ">=" else high <= share


def _decides(passed: float, rows: int, sign: str, share: float, facts: int) -> bool:
    low, high = wilson_interval(passed * rows, rows, facts)
    return _holds(passed * rows, rows, sign, share) or (high < share if sign == ">=" else low > share)
