"""How much would a number move with other held-out conversations, and what may be said about a difference?

Means per token are ratios of two sums over rows (nats, tokens); interval: the t interval of the linearised ratio
(Cochran, Sampling Techniques, 1977, 6.4), each residual divided by the others' share of the tokens (Efron & Tibshirani,
1993, chapter 11). Rows are the sample, never tokens; long ones count as fewer: (sum)^2 / sum of squares (Kish, 1965).
Where rows lean to one side, each end is the farther one of it and of Hall's (J. R. Stat. Soc. B 54, 1992, 221-228);
small samples show too little skewness: times 1 + 8.5 / rows (Hazen, 1930), or 1 + 4 / rows under FEW, where verdicts
need the tests of signs.py, too. Verdicts share the 5 % of a page (Bonferroni). `proofs/proof_statistics.py` measures
false alarms and coverage.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

import numpy

from helpers.evaluate.signs import sign_test, signed_rank_test
from helpers.show.words import N_, _

ALPHA = 0.05  # of a page: how often at most one of its verdicts may be a false alarm
FEWEST = 12  # rows; fewer hide how far they lean to one side, so no verdict is given
FEW = 20  # rows; fewer are counted, too
NLL, CHRF = N_("NLL per token"), N_("chrF per reply")
MARGINS = {NLL: 0.02, CHRF: 1.0}  # nats (about 2 % in perplexity); points of 100
BETTER, WORSE, UNCLEAR, TOO_FEW = N_("better"), N_("worse"), N_("unclear"), N_("too few rows")
SAME = N_("no difference that matters")
STATES = N_(
    "Better or worse: all of the interval lies beyond the margin; under 20 rows, nearly every row does. "
    "No difference that matters: all of it lies within. Else unclear."
)


class NothingMeasured(ValueError):
    """There is no row, or a number that is not finite: no interval, and no verdict."""


def ratio_interval(
    sums: Sequence[float], counts: Sequence[float], verdicts: int = 1, bend: float | None = 8.5
) -> tuple:
    """Interval of sum(sums) / sum(counts), right 1 - 0.05 / `verdicts` of the time; (None, None) for a single row.

    `bend` / rows enlarges the skewness; None: values that lean to no side, the t interval. Raises NothingMeasured.
    """
    rows = len(sums)
    if not rows:
        raise NothingMeasured(_("There is no row to compare: measure at least one."))
    if not math.isfinite(sum(sums)):
        raise NothingMeasured(_("A measured number is not finite, so nothing can be said about the mean."))
    if rows == 1:
        return None, None
    values, sizes = numpy.array(sums, float), numpy.array(counts, float)
    ratio = values.sum() / sizes.sum()
    pulls = (values - ratio * sizes) / (sizes.sum() - sizes)
    error = math.sqrt((rows - 1) / rows * (pulls**2).sum())
    worth = max(sizes.sum() ** 2 / (sizes**2).sum(), 1)  # so many rows, were all of one length (Kish)
    t = t_quantile(max(1, round(worth) - 1), ALPHA / verdicts)
    lean = 0.0 if bend is None else _skewness(pulls) * (1 + bend / worth) / math.sqrt(rows)
    return float(ratio - error * max(t, _hall(t, lean))), float(ratio - error * min(-t, _hall(-t, lean)))


def mean_interval(values: Sequence[float], verdicts: int = 1) -> tuple:
    """Student's interval of a mean, for values that lean to no side, such as the results of several seeds."""
    return ratio_interval(values, [1] * len(values), verdicts, bend=None)


def paired_difference(a: Sequence[float], b: Sequence[float], counts: Sequence[float], verdicts: int = 1) -> dict:
    """b - a per token on the same rows: `difference`, its interval `low`..`high` at `level`, how many `rows`.

    Under FEW rows also `by_row`, the difference of each. Raises NothingMeasured.
    """
    both = [y - x for x, y in zip(a, b, strict=True)]
    few = 1 < len(both) < FEW
    low, high = ratio_interval(both, counts, verdicts, 4 if few else 8.5)
    gap = {"difference": sum(both) / sum(counts), "low": low, "high": high}
    gap |= {"rows": len(both), "level": 1 - ALPHA / verdicts}
    return gap | ({"by_row": [row / count for row, count in zip(both, counts, strict=True)]} if few else {})


def judge(gap: dict, number: str = NLL, margin: float | None = None) -> str:
    """What may be said about a `paired_difference` of `number` (a key of MARGINS): see STATES, or "too few rows"."""
    if gap["rows"] < FEWEST:
        return TOO_FEW
    margin = MARGINS[number] if margin is None else margin
    low, high = (-gap["high"], -gap["low"]) if number == CHRF else (gap["low"], gap["high"])  # of chrF more is better
    if not math.isfinite(low + high):
        return UNCLEAR
    up = -1 if number == CHRF else 1
    if high < -margin and _nearly_all(-up, margin, gap):
        return BETTER
    if low > margin and _nearly_all(up, margin, gap):
        return WORSE
    return SAME if -margin <= low and high <= margin else UNCLEAR


def _nearly_all(side: int, margin: float, gap: dict) -> bool:
    """Of few rows the signs have to agree that they lie beyond the margin on that side, by count and by rank.

    By rank at a quarter of the share: few rows of a kind that leans to one side hide its long tail.
    """
    beyond = [side * row - margin for row in gap.get("by_row", ())]
    count, share = sum(row > 0 for row in beyond), 1 - gap.get("level", 0)
    return not beyond or sign_test(count, len(beyond) - count) <= share and signed_rank_test(beyond) <= share / 4


def judged_difference(a: Sequence, b: Sequence, counts: Sequence, verdicts: int = 1, number: str = NLL) -> dict:
    """A `paired_difference` with its `verdict`."""
    gap = paired_difference(a, b, counts, verdicts)
    return {**gap, "verdict": judge(gap, number)}


def rows_beyond(gap: dict, number: str = NLL) -> tuple[int, int]:
    """How many rows of a difference `by_row` are better, and how many worse, by more than the margin."""
    margin, values = MARGINS[number], gap.get("by_row", ())
    below, above = sum(value < -margin for value in values), sum(value > margin for value in values)
    return (above, below) if number == CHRF else (below, above)


def wilson_interval(wins: float, total: int, verdicts: int = 1) -> tuple[float, float]:
    """Interval of a share (Wilson, 1927), at 1 - 0.05 / `verdicts`; (0, 1) when nothing was counted. Honest for few."""
    if total == 0:
        return 0.0, 1.0
    z, share = statistics.NormalDist().inv_cdf(1 - ALPHA / verdicts / 2), wins / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return middle - half if wins > 0 else 0.0, middle + half if wins < total else 1.0  # those two ends exactly


def told_interval(low: float | None, high: float | None, form: str = "+.3f") -> str:
    """An interval in words."""
    if low is None or high is None:
        return _(TOO_FEW)
    return _("{low} to {high}").format(low=f"{low:{form}}", high=f"{high:{form}}")


def told_gap(gap: dict, number: str = NLL, form: str = "+.3f") -> str:
    """The interval of a difference in words; of few rows, how many are better and worse."""
    if "by_row" not in gap:
        return told_interval(gap["low"], gap["high"], form)
    better, worse = rows_beyond(gap, number)
    equal = gap["rows"] - better - worse
    return _("{better} rows better, {worse} worse, {equal} equal").format(better=better, worse=worse, equal=equal)


def share(count: float, total: int) -> str:
    """A part of `total` in words: a percentage of few would look more exact than it is."""
    if total < 30:
        return _("{count} of {total}").format(count=round(count), total=total)
    return _("{share} of {total}").format(share=f"{count / total:.0%}", total=total)


def told_count(passed: int, rows: int) -> str:
    """A count with the interval of its share."""
    return f"{share(passed, rows)} ({told_interval(*wilson_interval(passed, rows), '.0%')})"


def told_level(verdicts: int) -> str:
    """How sure each of so many intervals is, in a sentence."""
    level = _("Intervals of {level} % each, so that all {count} hold in 95 % of such pages.")
    return level.format(level=f"{100 * (1 - ALPHA / max(verdicts, 1)):.4g}", count=verdicts)


def _skewness(values: numpy.ndarray) -> float:
    """Mean third power of the standardised values; 0 for values that are all the same."""
    scale = values.std()
    return (((values - values.mean()) / scale) ** 3).mean() if scale else 0.0


def _hall(t: float, lean: float) -> float:
    """The T whose transform T + lean T^2 / 3 + lean^2 T^3 / 27 + lean / 6 is `t`; `lean`: skewness / sqrt(rows)."""
    return 3 / lean * (math.cbrt(1 + lean * (t - lean / 6)) - 1) if abs(lean) > 1e-6 else t


@functools.cache
def t_quantile(freedom: int, alpha: float) -> float:
    """t with P(|T| > t) = alpha for a whole number of degrees of freedom, by halving (Abramowitz & Stegun 26.7.3)."""
    low, high = 0.0, math.pi / 2  # the angle atan(t / sqrt(freedom))
    while high - low > 1e-15:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 1 - alpha else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _within(angle: float, freedom: int) -> float:
    """P(|T| < sqrt(freedom) tan(angle)): a finite sum, from cos^0 or cos^1 on."""
    odd = freedom % 2
    term, series = math.cos(angle) if odd else 1.0, 0.0
    for power in range(odd, freedom - 1, 2):
        series += term
        term *= (power + 1) / (power + 2) * math.cos(angle) ** 2
    inner = math.sin(angle) * series
    return 2 / math.pi * (angle + inner) if odd else inner
