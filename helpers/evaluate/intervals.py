"""How much would a number move with other held-out conversations, and what may be said about a difference?

Means per token are ratios of two sums over rows (nats, tokens), so their interval is the t interval of the linearised
ratio: Cochran, Sampling Techniques (1977), 6.4; the residual of a row is divided by the others' share of all tokens, as
the jackknife does (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11). Rows are the sample, never
single tokens; long rows weigh more, so they count as fewer: (sum of tokens)^2 / sum of squares (Kish, 1965).
Where the rows lean to one side, the t interval misses on the other. So each end is the farther one of the t interval and
of Hall's, which takes the skewness into account (J. R. Stat. Soc. B 54, 1992, 221-228). A small sample shows too little of
it: times 1 + 8.5 / rows (Hazen, Flood Flows, 1930).
When a page gives several verdicts, each gets its share of the 5 % (Bonferroni). `proofs/proof_statistics.py` measures
false alarms and coverage.
"""

from __future__ import annotations

import functools
import math

ALPHA = 0.05  # of a page: how often at most one of its verdicts may be a false alarm
FEWEST = 8  # rows; fewer hide how far their kind leans to one side, so no verdict is given
MARGINS = {"NLL per token": 0.02, "chrF per reply": 1.0}  # nats (about 2 % in perplexity); points of 100
BETTER, WORSE, SAME, UNCLEAR, TOO_FEW = "better", "worse", "no difference that matters", "unclear", "too few rows"
STATES = "Better or worse: all of the interval lies beyond the margin. No difference that matters: all of it lies within. Else unclear."


def ratio_interval(
    sums: list[float], counts: list[float], verdicts: int = 1
) -> tuple[float, float] | tuple[None, None]:
    """Interval of sum(sums) / sum(counts), right 1 - 0.05 / `verdicts` of the time; (None, None) for a single row.

    Raises ValueError without a row, or for a number that is not finite.
    """
    rows, total = len(sums), sum(counts)
    if not rows:
        raise ValueError("There is no row to compare: measure at least one.")
    if not math.isfinite(sum(sums)):
        raise ValueError("A measured number is not finite, so nothing can be said about the mean.")
    if rows == 1:
        return None, None
    ratio = sum(sums) / total
    pulls = [(v - ratio * c) / (total - c) for v, c in zip(sums, counts, strict=True)]
    error = math.sqrt((rows - 1) / rows * sum(pull**2 for pull in pulls))
    worth = total**2 / sum(count**2 for count in counts)  # rows, were all of one length
    t = t_quantile(max(1, round(worth) - 1), ALPHA / verdicts)
    lean = _skewness(pulls) * (1 + 8.5 / worth) / math.sqrt(rows)
    return ratio - error * max(t, _hall(t, lean)), ratio - error * min(-t, _hall(-t, lean))


def paired_difference(a: list[float], b: list[float], counts: list[float], verdicts: int = 1) -> dict:
    """b - a per token on the same rows: `difference`, its interval `low`..`high` at `level`, and how many `rows`."""
    both = [y - x for x, y in zip(a, b, strict=True)]
    low, high = ratio_interval(both, counts, verdicts)
    numbers = {"difference": sum(both) / sum(counts), "low": low, "high": high}
    return {**numbers, "rows": len(both), "level": 1 - ALPHA / verdicts}


def judge(gap: dict, number: str = "NLL per token") -> str:
    """What may be said about a `paired_difference` of `number` (a key of MARGINS): see STATES, or "too few rows"."""
    if gap["rows"] < FEWEST:
        return TOO_FEW
    low, high, margin = gap["low"], gap["high"], MARGINS[number]
    if number.startswith("chrF"):  # more is better
        low, high = -high, -low
    if high < -margin or low > margin:
        return BETTER if high < -margin else WORSE
    return SAME if -margin <= low and high <= margin else UNCLEAR


def told_interval(low: float | None, high: float | None, form: str = "+.3f") -> str:
    """An interval in words."""
    return "too few rows" if low is None else f"{low:{form}} to {high:{form}}"


def share(count: float, total: int) -> str:
    """A part of `total` in words: a percentage of few would look more exact than it is."""
    return f"{round(count)} of {total}" if total < 30 else f"{count / total:.0%} of {total}"


def _skewness(values: list[float]) -> float:
    """Mean third power of the standardised values; 0 for values that are all the same."""
    middle, rows = sum(values) / len(values), len(values)
    scale = math.sqrt(sum((value - middle) ** 2 for value in values) / rows)
    return sum(((value - middle) / scale) ** 3 for value in values) / rows if scale else 0.0


def _hall(t: float, lean: float) -> float:
    """The T whose transform T + lean T^2 / 3 + lean^2 T^3 / 27 + lean / 6 is `t`; `lean`: skewness / sqrt(rows)."""
    return 3 / lean * (math.cbrt(1 + lean * (t - lean / 6)) - 1) if abs(lean) > 1e-6 else t


@functools.cache
def t_quantile(freedom: int, alpha: float) -> float:
    """t with P(|T| > t) = alpha for a whole number of degrees of freedom; by halving (Abramowitz & Stegun, 26.7.3-4)."""
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
