"""Few rows, counted: how likely are so many, or so high ranks, of one sign? Exact (Conover, 1999, 3.4 and 5.7)."""

from __future__ import annotations

import math
from collections.abc import Sequence


def sign_test(won: int, lost: int) -> float:
    """Two-sided chance of so uneven a split, or one more uneven; of pairs it is McNemar's exact test (1947)."""
    total = won + lost
    tail = sum(math.comb(total, k) for k in range(min(won, lost) + 1)) / 2**total
    return min(1.0, 2 * tail)


def signed_rank_test(values: Sequence[float]) -> float:
    """Two-sided chance that so little lies below 0, by rank (Wilcoxon, 1945); of equals those below rank higher."""
    ranked, ways = sorted(filter(None, values), key=lambda value: (abs(value), value < 0)), [1]
    for rank in range(1, len(ranked) + 1):  # in how many ways the signs give each sum
        ways = [a + b for a, b in zip([*ways, *[0] * rank], [*[0] * rank, *ways], strict=True)]
    below = sum(rank for rank, value in enumerate(ranked, 1) if value < 0)
    return min(1.0, 2 * sum(ways[: below + 1]) / 2 ** len(ranked))
