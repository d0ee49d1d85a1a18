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

from helpers.evaluate import intervals
from helpers.evaluate.intervals import ALPHA, BETTER, MARGINS, NLL, TOO_FEW, WORSE, judge, t_quantile, wilson_interval
from helpers.show.words import _

SHIP, STOP, UNDECIDED = 0, 1, 2
POWER = 0.8  # how often the smallest effect is seen
MOST = 10**5  # rows that are worth advising


@dataclass(frozen=True)
class Reason:
    """One fact of the gate, and what follows from it alone."""

    code: int
    sentence: str


def _has_interval(gap: dict) -> bool:
    """Whether it can be judged anew; an older file's, and that of a single row, cannot."""
    return gap.get("low") is not None and "level" in gap


def at_level(gap: dict, facts: int) -> dict:
    """A `paired_difference` with the interval that it has as one of so many; as it is where there is none."""
    if not _has_interval(gap):
        return gap
    factor = t_quantile(gap["rows"] - 1, ALPHA / facts) / t_quantile(gap["rows"] - 1, 1 - gap["level"])
    low, high = (gap["difference"] + factor * (gap[end] - gap["difference"]) for end in ("low", "high"))
    return {**gap, "low": low, "high": high, "level": 1 - ALPHA / facts}


def verdict_of(gap: dict, number: str, facts: int) -> str:
    """The verdict at that level; an older file's own where it has no interval."""
    return judge(at_level(gap, facts), number) if _has_interval(gap) else gap["verdict"]


def smallest(gap: dict, number: str, facts: int) -> str:
    """How small an effect would have been seen, in words; "" where nothing is known of it."""
    if not _has_interval(gap):
        return ""
    power = statistics.NormalDist().inv_cdf(POWER) / t_quantile(gap["rows"] - 1, ALPHA / facts)
    seen = _half(gap, facts) * (1 + power) + MARGINS[number]
    return " " + _("An effect of {seen:.2f} would have been seen.").format(seen=seen)


def _half(gap: dict, facts: int) -> float:
    wide = at_level(gap, facts)
    return (wide["high"] - wide["low"]) / 2


def rows_needed(gap: dict, number: str, facts: int) -> str:
    """How many rows would prove a difference of this size, in words; "" where nothing is known of it."""
    if gap.get("low") is None:
        return ""
    room = abs(gap["difference"]) - MARGINS[number]
    rows = math.ceil(gap["rows"] * (_half(gap, facts) / room) ** 2) if room > 0 else MOST
    if rows >= MOST:
        return " " + _("No number of rows would tell: the difference is no larger than the margin.")
    return _rows_told(max(rows, gap["rows"] + 1))


def _rows_told(rows: int) -> str:
    return " " + _("About {rows} rows would tell, if it stays as it is.").format(rows=rows)


def harm(gap: dict, what: str, number: str, facts: int) -> Reason:
    """A difference that must not be a loss: only a proven one stops."""
    verdict = verdict_of(gap, number, facts)
    if verdict == WORSE:
        return Reason(STOP, _("{what}: worse.").format(what=what))
    if verdict == TOO_FEW and "level" in gap:
        return Reason(UNDECIDED, _("{what}: too few rows.").format(what=what))
    return Reason(SHIP, _("{what}: no loss is proven.").format(what=what) + smallest(gap, number, facts))


def gain(gap: dict, what: str, facts: int, seeds: list[float]) -> Reason:
    """A difference that has to be a gain: over rows and, where there are `seeds` (one difference each), over them."""
    verdict = verdict_of(gap, NLL, facts)
    if verdict == WORSE:
        return Reason(STOP, _("{what}: worse.").format(what=what))
    if verdict != BETTER:
        return Reason(UNDECIDED, _("{what}: no gain is proven.").format(what=what) + rows_needed(gap, NLL, facts))
    told = _("{what}: {difference:+.3f} nats, a proven gain.").format(what=what, difference=gap["difference"])
    told += smallest(gap, NLL, facts) + " "
    if len(seeds) < 2:
        return Reason(SHIP, told + _("One seed: the luck of the training is not in it."))
    _low, high = intervals.mean_interval(seeds)
    if high < -MARGINS[NLL]:
        return Reason(SHIP, told + _("So do {seeds} seeds say.").format(seeds=len(seeds)))
    return Reason(UNDECIDED, told + seeds_needed(seeds))


def seeds_needed(gains: list[float]) -> str:
    """How many seeds would prove this mean, in words."""
    room, spread = abs(statistics.fmean(gains)) - MARGINS[NLL], statistics.stdev(gains)
    enough = (k for k in range(len(gains) + 1, 101) if t_quantile(k - 1, ALPHA) * spread / math.sqrt(k) < room)
    seeds = next(enough, None)
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
    code, told = (
        _holds(passed, of, check, facts),
        f"{model}: {name} {sign} {share:g}: {intervals.told_count(passed, of)}",
    )
    sentences = {SHIP: _("{told}: holds."), STOP: _("{told}: does not hold.")}
    if code in sentences:
        return Reason(code, sentences[code].format(told=told))
    sizes = (round(of * 1.1**i) for i in range(1, 100))
    rows = next((rows for rows in sizes if _holds(passed / of * rows, rows, check, facts) != UNDECIDED), MOST)
    told = _("{told}: so few rows cannot tell.").format(told=told)
    return Reason(UNDECIDED, told + (_rows_told(rows) if rows < MOST else ""))


def _holds(passed: float, of: int, check: tuple[str, str, float], facts: int) -> int:
    """SHIP where the 95 % interval is beyond the threshold, STOP where the one at this level misses it."""
    _name, sign, share = check
    (low, high), (lowest, highest) = wilson_interval(passed, of), wilson_interval(passed, of, facts)
    holds, fails = (low >= share, highest < share) if sign == ">=" else (high <= share, lowest > share)
    return SHIP if holds else STOP if fails else UNDECIDED
