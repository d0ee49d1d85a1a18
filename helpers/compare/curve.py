"""The loss as a curve of the number of rows, a + b n^-c, with an interval over held-out rows and seeds.

The form: Hestness and others, Deep Learning Scaling is Predictable, Empirically (2017); a is what no number of rows
takes away. Least squares over a grid of c, a and b not below 0. Interval: the bootstrap draws held-out rows, the same
in all runs, and moves each size by the spread of its seeds, and by what the curve itself misses.
`proofs/proof_curve.py` counts how often it holds the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy

from helpers.compare.runs import Trial
from helpers.evaluate.intervals import FEWEST
from helpers.show.pictures import Picture, chart
from helpers.show.tables import GREY
from helpers.show.words import _

DRAWS = 2000
POWERS = numpy.linspace(0.05, 1.5, 59)


@dataclass(frozen=True)
class Curve:
    """`losses` of each of `sizes`; `drawn`: a, b, c of every draw, (draws, 3); `spread`: of a run of another seed."""

    sizes: list[int]
    losses: list[float]
    drawn: numpy.ndarray
    spread: float

    def at(self, rows: float) -> numpy.ndarray:
        """The loss at `rows` in every draw."""
        a, b, c = self.drawn.T
        return a + b * rows**-c

    def doubled(self, rows: int) -> tuple[float, float, float]:
        """Nats that twice so many rows take away: middle and 95 % interval."""
        return interval(self.at(rows) - self.at(2 * rows))

    def expected(self, rows: int) -> tuple[float, float, float]:
        """The loss of one more training, on so many rows: middle and 95 % interval."""
        luck = numpy.random.default_rng(1).normal(0, self.spread, len(self.drawn))
        return interval(self.at(rows) + luck)


def interval(values: numpy.ndarray) -> tuple[float, float, float]:
    """Median and 95 % interval of the draws."""
    middle, low, high = numpy.quantile(values, [0.5, 0.025, 0.975])
    return float(middle), float(low), float(high)


class TooFewSizes(ValueError):
    """Fewer than three numbers of rows were measured: a curve of three numbers goes through anything.

    Or on so few held-out rows, the same in all, that nothing can be said of others.
    """


def fit_curve(by_size: dict[int, list[Trial]], draws: int = DRAWS) -> Curve:
    """The curve through runs on the same held-out rows, by the number of rows that each learned from.

    Raises TooFewSizes.
    """
    if len(by_size) < 3:
        raise TooFewSizes(_("{sizes} sizes are measured; a curve needs three.").format(sizes=len(by_size)))
    sizes = numpy.array(sorted(by_size), dtype=float)
    groups = [by_size[int(size)] for size in sizes]
    rows = [row for row in groups[0][0].rows if all(row in trial.rows for group in groups for trial in group)]
    if len(rows) < FEWEST:
        sentence = _(
            "{rows} held-out rows are the same in all of these runs; a curve needs {fewest}. Hold out more of them "
            "(eval_fraction in 03), or delete the forks that are of other data."
        )
        raise TooFewSizes(sentence.format(rows=len(rows), fewest=FEWEST))
    nats = [numpy.array([[trial.rows[row][0] for row in rows] for trial in group]) for group in groups]
    tokens = numpy.array([groups[0][0].rows[row][1] for row in rows], dtype=float)
    draw = numpy.random.default_rng(0)
    picked = draw.integers(len(rows), size=(draws, len(rows)))
    drawn = numpy.stack([part.mean(0)[picked].sum(1) for part in nats], 1) / tokens[picked].sum(1)[:, None]
    losses = numpy.array([part.mean(0).sum() for part in nats]) / tokens.sum()
    runs = numpy.array([len(part) for part in nats])
    spread, freedom = _spread([part.sum(1) / tokens.sum() for part in nats], sizes, losses)
    if freedom:
        scale = spread * numpy.sqrt(freedom / draw.chisquare(freedom, draws))  # the spread itself is known badly
        drawn += draw.normal(size=drawn.shape) * scale[:, None] / numpy.sqrt(runs)
    return Curve(sizes.astype(int).tolist(), losses.tolist(), least_squares(sizes, drawn), spread)


def _spread(seeds: list[numpy.ndarray], sizes: numpy.ndarray, losses: numpy.ndarray) -> tuple[float, int]:
    """Standard deviation of a run about the curve, from seeds and what the curve misses, and its degrees of freedom."""
    squares = sum(((group - group.mean()) ** 2).sum() for group in seeds)
    freedom = sum(len(group) - 1 for group in seeds)
    a, b, c = least_squares(sizes, losses[None])[0]
    missed = (numpy.array([len(group) for group in seeds]) * (losses - a - b * sizes**-c) ** 2).sum()
    freedom += max(len(sizes) - 3, 0)
    return math.sqrt((squares + missed) / freedom) if freedom else 0.0, freedom


def least_squares(sizes: numpy.ndarray, losses: numpy.ndarray) -> numpy.ndarray:
    """a, b and c for each row of `losses` (draws, sizes): (draws, 3)."""
    falls = sizes ** -POWERS[:, None]
    centred = falls - falls.mean(1, keepdims=True)
    b = numpy.maximum(losses @ centred.T / (centred**2).sum(1), 0)  # (draws, powers)
    a = losses.mean(1)[:, None] - b * falls.mean(1)
    b = numpy.where(a < 0, losses @ falls.T / (falls**2).sum(1), b)
    a = numpy.maximum(a, 0)
    errors = ((losses[:, None] - a[..., None] - b[..., None] * falls) ** 2).sum(2)
    draw, best = numpy.arange(len(losses)), errors.argmin(1)
    return numpy.stack([a[draw, best], b[draw, best], POWERS[best]], 1)


def worth(curve: Curve) -> str:
    """What twice the rows of the largest size would be worth, in one sentence."""
    rows = max(curve.sizes)
    gain, low, high = curve.doubled(rows)
    sentence = _("Twice your {rows} rows is worth {gain:.2f} nats less ({low:.2f} to {high:.2f}).")
    return sentence.format(rows=rows, gain=gain, low=low, high=high)


def curve_chart(curves: dict[str, Curve]) -> Picture:
    """The curves by name, with their intervals, up to twice the rows; a dot is what was measured."""
    figure, axes = chart(7, 3.4)
    for place, (name, curve) in enumerate(curves.items()):
        line = numpy.geomspace(min(curve.sizes), 2 * max(curve.sizes), 40)
        middle, low, high = zip(*(interval(curve.at(rows)) for rows in line), strict=True)
        axes.fill_between(line, low, high, color=f"C{place}", alpha=0.2, linewidth=0)
        axes.plot(line, middle, color=f"C{place}", label=name)
        axes.plot(curve.sizes, curve.losses, "o", color=f"C{place}")
        axes.axvline(max(curve.sizes), color=GREY, linewidth=1)
    axes.set_xscale("log", base=2)
    ticks = {rows for curve in curves.values() for rows in (*curve.sizes, 2 * max(curve.sizes))}
    axes.set_xticks(sorted(ticks), map(str, sorted(ticks)))
    axes.set(xlabel=_("training rows"), ylabel=_("held-out loss (nats per token)"))
    axes.legend()
    told = "; ".join(f"{name}: {worth(curve)}" for name, curve in curves.items())
    return Picture(figure, told)
