"""The facts that the gate weighs: each is a difference or a count, judged at its share of the 5 % of all of them.

Doing harm has to be proven at a share of the 5 % (Bonferroni; gate.py shares it out), so that a model without any is
stopped once in twenty times at most. What was asked for has to be proven as well, all of it, so each by a 95 % interval
of its own (the intersection-union test; Berger, Technometrics 24, 1982): a model that lacks one of them is passed once
in forty. Every sentence says how small an effect would have been seen (meant: 4 times in 5; measured: 65 % at 20 rows,
75 to 84 % with more). `proofs/proof_gate.py` and `proofs/proof_power.py` count the errors, and how often that is true.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from helpers.evaluate import intervals
from helpers.evaluate.intervals import (
    ALPHA,
    BETTER,
    CHRF,
    MARGINS,
    NLL,
    SAME,
    TOO_FEW,
    UNCLEAR,
    WORSE,
    judge,
    t_quantile,
    wilson_interval,
)
from helpers.show.words import _

SHIP, STOP, UNDECIDED = 0, 1, 2
POWER = 0.8  # how often the smallest effect is seen
TINY = 1e-9  # more than the margin
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
    """How small an effect would have been seen, in words; "" where nothing is known of it, and where none would."""
    effect = seen(gap, number, facts) if _has_interval(gap) else math.inf
    if effect == math.inf:
        return ""
    told = _("{rows} rows and {seeds} seeds") if "luck" in gap else _("{rows} rows")
    told = told.format(rows=gap["rows"], seeds=gap.get("seeds"))
    return " " + _("An effect of {seen:.2f} would have been seen ({sample}).").format(seen=effect, sample=told)


def seen(gap: dict, number: str, facts: int) -> float:
    """The smallest effect that is proven to be more than the margin POWER of the time.

    What this sample would prove, were its mean so large, and t for the times that it lies lower (Cohen, Statistical
    Power Analysis, 1988, 2.4). Few rows have to agree in their signs, too.
    """
    level, freedom = ALPHA / facts, gap.get("freedom", 1)
    rows = _over_rows(gap, facts) * _lower(gap["rows"] - 1, level) / t_quantile(gap["rows"] - 1, level)
    luck = gap.get("luck", 0.0) * _lower(freedom, level)
    half, margin, side = _half(gap, facts), MARGINS[number], -1 if number == CHRF else 1
    around = [side * (row - gap["difference"]) for row in gap.get("by_row", ())]
    for effect in sorted([half + margin, *(margin - row for row in around)]):
        moved = {"low": effect - half + TINY, "high": effect + half, "by_row": [row + effect + TINY for row in around]}
        if judge({**gap, **moved, "level": 1 - level}, NLL, margin) == WORSE:
            return effect + math.hypot(rows, luck)
    return math.inf


def _lower(freedom: int, level: float) -> float:
    """Standard errors for the times that a mean lies lower, and that its interval is wider than the one at hand."""
    return t_quantile(freedom, 2 * (1 - POWER)) * math.sqrt(1 + t_quantile(freedom, level) ** 2 / freedom)


def _half(gap: dict, facts: int) -> float:
    wide = at_level(gap, facts)
    return (wide["high"] - wide["low"]) / 2


def _over_rows(gap: dict, facts: int) -> float:
    """The same without the luck of the trainings."""
    luck = gap.get("luck", 0.0) * t_quantile(gap.get("freedom", 1), ALPHA / facts)
    return math.sqrt(max(_half(gap, facts) ** 2 - luck**2, 0.0))


def rows_needed(gap: dict, number: str, facts: int) -> str:
    """How many rows would prove a difference of this size, in words; "" where nothing is known of it.

    Where the luck of the training is known: rows and seeds, each for half of the squared width that may remain.
    """
    if gap.get("low") is None:
        return ""
    room, luck = abs(gap["difference"]) - MARGINS[number], gap.get("luck", 0.0)
    part = room / math.sqrt(2) if luck else room
    rows = math.ceil(gap["rows"] * (_over_rows(gap, facts) / part) ** 2) if room > 0 else MOST
    if rows >= MOST:
        return " " + _("No number of rows would tell: the difference is no larger than the margin.")
    if not luck:
        return _rows_told(max(rows, gap["rows"] + 1))
    alone, level = luck * math.sqrt(gap["seeds"] / 2), ALPHA / facts  # `alone`: the spread of one training
    enough = (k for k in range(gap["seeds"], 101) if t_quantile(2 * k - 2, level) * alone * math.sqrt(2 / k) < part)
    seeds = next(enough, None)
    if seeds is None:
        return " " + _("No hundred seeds would tell: the difference is hardly larger than the margin.")
    told = _("About {rows} rows and {seeds} seeds of each run would tell, if it stays as it is.")
    return " " + told.format(rows=max(rows, gap["rows"]), seeds=seeds)


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
    if verdict_of(gap, NLL, facts) == WORSE:
        return Reason(STOP, _("{what}: worse.").format(what=what))
    if verdict_of(gap, NLL, 1) != BETTER:
        return Reason(UNDECIDED, _("{what}: no gain is proven.").format(what=what) + rows_needed(gap, NLL, 1))
    told = _("{what}: {difference:+.3f} nats, a proven gain.").format(what=what, difference=gap["difference"])
    told += smallest(gap, NLL, 1) + " "
    if len(seeds) < 2:
        return Reason(SHIP, told + _("One seed: the luck of the training is not in it."))
    _low, high = intervals.mean_interval(seeds)
    if high < -MARGINS[NLL]:
        return Reason(SHIP, told + _("So do {seeds} seeds say.").format(seeds=len(seeds)))
    return Reason(UNDECIDED, told + seeds_needed(seeds))


def rival(gap: dict, alone: dict, what: str, facts: int) -> Reason:
    """Another run: `gap` is the difference to it at its share, `alone` the same at 95 %; it decides with seeds only."""
    verdict = verdict_of(alone, NLL, 1)
    if verdict == WORSE and verdict_of(gap, NLL, facts) != WORSE:
        verdict = UNCLEAR
    told = _("{what}: {difference:+.3f} nats, {verdict}.")
    told = told.format(what=what, difference=gap["difference"], verdict=_(verdict))
    code = {BETTER: SHIP, SAME: SHIP, WORSE: STOP}.get(verdict, UNDECIDED)
    if gap["seeds"] < 2:
        luck = _("One seed of each: it may be luck. Train both with `seeds=[1, 2, 3]` (08).")
        return Reason(SHIP if verdict == SAME else UNDECIDED, f"{told} {luck}")
    return Reason(code, told + (rows_needed(gap, NLL, facts) if code == UNDECIDED else smallest(gap, NLL, facts)))


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
