"""How small an effect would have been seen, and how many rows or seeds would tell: what follows a verdict of the gate.

A difference is judged as one of so many facts, each at its share of the 5 %. Seen means proven to be more than the
margin, `POWER` of the time; `proofs/proof_power.py` counts how often that is true.
"""

import math
import statistics

from helpers.evaluate.intervals import ALPHA, CHRF, FEWEST, MARGINS, NLL, WORSE, judge, t_quantile
from helpers.show.words import _

POWER = 0.8  # how often the smallest effect is seen
TINY = 1e-9  # more than the margin
MOST = 10**5  # rows that are worth advising


def has_interval(gap: dict) -> bool:
    """Whether it can be judged anew; an older file's, and that of a single row, cannot."""
    return gap.get("low") is not None and "level" in gap


def at_level(gap: dict, facts: int) -> dict:
    """A `paired_difference` with the interval that it has as one of so many; as it is where there is none."""
    if not has_interval(gap):
        return gap
    factor = t_quantile(gap["rows"] - 1, ALPHA / facts) / t_quantile(gap["rows"] - 1, 1 - gap["level"])
    low, high = (gap["difference"] + factor * (gap[end] - gap["difference"]) for end in ("low", "high"))
    return {**gap, "low": low, "high": high, "level": 1 - ALPHA / facts}


def smallest(gap: dict, number: str, facts: int) -> str:
    """How small an effect would have been seen, in words; "" where nothing is known of it, and where none would."""
    effect = seen(gap, number, facts) if has_interval(gap) else math.inf
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
        return rows_told(max(rows, gap["rows"] + 1, FEWEST))
    alone, level = luck * math.sqrt(gap["seeds"] / 2), ALPHA / facts  # `alone`: the spread of one training
    enough = (k for k in range(gap["seeds"], 101) if t_quantile(2 * k - 2, level) * alone * math.sqrt(2 / k) < part)
    seeds = next(enough, None)
    if seeds is None:
        return " " + _("No hundred seeds would tell: the difference is hardly larger than the margin.")
    told = _("About {rows} rows and {seeds} seeds of each run would tell, if it stays as it is.")
    return " " + told.format(rows=max(rows, gap["rows"]), seeds=seeds)


def rows_told(rows: int) -> str:
    return " " + _("About {rows} rows would tell, if it stays as it is.").format(rows=rows)


def seeds_needed(gains: list[float]) -> str:
    """How many seeds would prove this mean, in words."""
    room, spread = abs(statistics.fmean(gains)) - MARGINS[NLL], statistics.stdev(gains)
    enough = (k for k in range(len(gains) + 1, 101) if t_quantile(k - 1, ALPHA) * spread / math.sqrt(k) < room)
    seeds = next(enough, None)
    if seeds is None:
        return _("But {given} seeds do not prove it, and a hundred would not.").format(given=len(gains))
    return _("But {given} seeds do not prove it; {seeds} would.").format(given=len(gains), seeds=seeds)
