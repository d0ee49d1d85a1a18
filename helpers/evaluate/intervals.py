"""Intervals by the bootstrap: how much would a number move with other held-out conversations?

Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16; rows are drawn, never single tokens.
"""

from __future__ import annotations


def bootstrap_interval(sums: list[float], counts: list[int], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of sum(sums) / sum(counts) over rows drawn with replacement."""
    import numpy

    means = _resampled(sums, counts, draws, seed)
    return tuple(float(x) for x in numpy.percentile(means, [2.5, 97.5]))


def paired_difference(a: list[float], b: list[float], counts: list[int], draws: int = 2000, seed: int = 0) -> dict:
    """b - a per token on the same rows: `difference`, its 95 % interval `low`..`high`, and `below`: share of draws with b below a."""
    import numpy

    both = [y - x for x, y in zip(a, b, strict=True)]
    means = _resampled(both, counts, draws, seed)
    low, high = (float(x) for x in numpy.percentile(means, [2.5, 97.5]))
    return {"difference": sum(both) / sum(counts), "low": low, "high": high, "below": float((means < 0).mean())}


def _resampled(sums, counts, draws: int, seed: int):
    import numpy

    if not len(sums):
        raise ValueError("There is no row to draw from: measure at least one.")
    sums, counts = numpy.asarray(sums, dtype=float), numpy.asarray(counts, dtype=float)
    rows = numpy.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    return sums[rows].sum(1) / counts[rows].sum(1)
