"""Intervals and verdicts. proofs/proof_statistics.py is the long form of the simulation."""

import itertools
import math

import numpy
import pytest

from helpers.evaluate.intervals import (
    BETTER,
    CHRF,
    FEW,
    FEWEST,
    MARGINS,
    SAME,
    TOO_FEW,
    UNCLEAR,
    WORSE,
    NothingMeasured,
    _hall,
    judge,
    paired_difference,
    ratio_interval,
    rows_beyond,
    share,
    t_quantile,
)
from helpers.evaluate.measured import VERDICTS
from helpers.evaluate.signs import sign_test, signed_rank_test
from helpers.merge.report import verdict
from proofs.proof_statistics import made, simulate


@pytest.mark.parametrize(
    ("freedom", "alpha", "t"),
    [(1, 0.05, 12.7062), (2, 0.05, 4.3027), (5, 0.01, 4.0321), (30, 0.05, 2.0423), (120, 0.001, 3.3735)],
)
def test_students_t(freedom, alpha, t):
    """Numbers of the printed tables (Student; Fisher & Yates)."""
    assert t_quantile(freedom, alpha) == pytest.approx(t, abs=1e-4)


def test_equal_rows_give_the_t_interval_of_a_mean():
    values = [1.0, 2.0, 6.0, 7.0]  # they lean to no side
    half = t_quantile(3, 0.05) * numpy.std(values, ddof=1) / 2
    assert ratio_interval(values, [1] * 4) == pytest.approx((4 - half, 4 + half))
    assert ratio_interval([3.0] * 4, [2] * 4) == (1.5, 1.5)


def test_rows_that_lean_give_room_on_that_side_and_take_none_on_the_other():
    values = [0.0, 0.1, 0.2, 0.1, 0.0, 0.2, 0.1, 2.0]
    mean, half = numpy.mean(values), t_quantile(7, 0.05) * numpy.std(values, ddof=1) / math.sqrt(8)
    low, high = ratio_interval(values, [1] * 8)
    assert low == pytest.approx(mean - half) and high > mean + 1.5 * half
    turned = ratio_interval([-value for value in values], [1] * 8)
    assert turned == pytest.approx((-high, -low))
    tiny = ratio_interval([value * 1e-120 for value in values], [1] * 8)
    assert tiny == pytest.approx((low * 1e-120, high * 1e-120), rel=1e-9, abs=0)


def test_hall_s_transform_is_turned_round():
    for lean in (-1.3, -0.2, 0.0, 0.4, 2.0):
        for t in (-4.0, -0.5, 0.0, 2.0, 9.0):
            found = _hall(t, lean)
            assert found + lean * found**2 / 3 + lean**2 * found**3 / 27 + lean / 6 == pytest.approx(t)


def test_rows_are_the_sample_not_tokens():
    """Few long rows give a wide interval, and one very long row counts as hardly more than one."""
    few, many = ratio_interval([10, 40], [10, 10]), ratio_interval([10, 40] * 50, [10, 10] * 50)
    assert few[1] - few[0] > 40 * (many[1] - many[0])
    numbers = numpy.random.default_rng(0).normal(size=12)
    level = ratio_interval(list(10 * numbers), [10] * 12)
    uneven = ratio_interval([10_000 * numbers[0], *(10 * numbers[1:])], [10_000, *[10] * 11])
    assert uneven[1] - uneven[0] > level[1] - level[0]


def test_what_cannot_be_told():
    assert ratio_interval([1.0], [3]) == (None, None)
    with pytest.raises(NothingMeasured):
        ratio_interval([], [])
    with pytest.raises(NothingMeasured):
        ratio_interval([1.0, math.nan], [1, 1])


def test_more_verdicts_make_wider_intervals_and_many_rows_have_nothing_else():
    numbers = list(numpy.random.default_rng(0).normal(size=FEW))
    one, four = (paired_difference([0.0] * FEW, numbers, [1] * FEW, verdicts) for verdicts in (1, 4))
    assert four["low"] < one["low"] < one["high"] < four["high"] and (one["level"], four["level"]) == (0.95, 0.9875)
    assert "by_row" not in one and "by_row" in paired_difference([0.0] * (FEW - 1), numbers[1:], [1] * (FEW - 1))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.9, -0.021, BETTER),
        (-0.9, -0.019, UNCLEAR),
        (-0.02, 0.02, SAME),
        (0.001, 0.003, SAME),  # it excludes 0 and does not matter: "worse" before, beside a green report
        (-0.021, 0.02, UNCLEAR),
        (0.019, 0.9, UNCLEAR),
        (0.021, 0.9, WORSE),
    ],
)
def test_the_states_on_both_sides_of_the_margin(low, high, said):
    assert judge({"low": low, "high": high, "rows": FEWEST}) == said
    assert judge({"low": low, "high": high, "rows": FEWEST - 1}) == TOO_FEW
    turned = {"low": -50 * high, "high": -50 * low, "rows": FEWEST}  # chrF: more is better, margin 1
    assert judge(turned, "chrF per reply") == said


def test_05_and_06_never_contradict_each_other():
    """The same rows, the same margin; 06 gives more verdicts, so its intervals are wider, never elsewhere."""
    draw, seen = numpy.random.default_rng(3), set()
    for _ in range(3000):
        rows = int(draw.integers(2, 30))
        tokens = draw.integers(1, 200, rows)
        gap = tokens * (draw.normal(0, 0.05) + draw.normal(0, 0.05 * draw.random() ** 3, rows))
        here, there = (paired_difference([0.0] * rows, gap.tolist(), tokens.tolist(), n) for n in (VERDICTS, 4))
        colour, said = verdict({"against_adapter": here})[0], judge(there)
        seen.add((colour, said))
    allowed = {("green", BETTER), ("green", SAME), ("green", UNCLEAR), ("red", WORSE), ("red", UNCLEAR)}
    assert seen <= allowed | {("unclear", UNCLEAR), ("unclear", TOO_FEW)} and len(seen) >= 6, seen


TEN_TO_29 = [10, 12, 14, 15, 18, 20, 22, 24, 25, 27, 29]


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([*TEN_TO_29, -2], BETTER),  # "unclear" before: the interval went from -10.2 to 25.6
        ([-gain for gain in [*TEN_TO_29, -2]], WORSE),
        ([*TEN_TO_29[:9], -2, -3, -1], UNCLEAR),  # nine of twelve is luck once in seven times
        ([*TEN_TO_29, -400], UNCLEAR),  # one that outweighs all others
        ([0.2, -0.3, 0.1, 0.4, -0.2, 0.3, -0.1, 0.2, 0.1, -0.3, 0.2, 0.0], SAME),
        (TEN_TO_29[: FEWEST - 1], TOO_FEW),
    ],
)
def test_few_rows_are_counted_one_by_one(gains, verdict):
    gap = paired_difference([50.0] * len(gains), [50 + gain for gain in gains], [1] * len(gains), 4)
    assert judge(gap, CHRF) == verdict and gap["by_row"] == pytest.approx(gains)
    assert -400 in gains or min(gains) <= gap["low"] <= gap["high"] <= max(gains)
    assert sum(rows_beyond(gap, CHRF)) == sum(abs(gain) > MARGINS[CHRF] for gain in gains)
    turned = {**gap, "low": -gap["high"], "high": -gap["low"], "by_row": [-gain for gain in gains]}
    assert judge(turned, CHRF) == {BETTER: WORSE, WORSE: BETTER}.get(verdict, verdict)


@pytest.mark.parametrize(
    ("won", "lost", "chance"), [(0, 0, 1), (1, 1, 1), (5, 0, 1 / 16), (11, 1, 26 / 4096), (1, 11, 26 / 4096)]
)
def test_the_sign_test_counts_both_sides(won, lost, chance):
    assert sign_test(won, lost) == pytest.approx(chance)


def test_ranks_are_counted_exactly():
    """Against every way to put the signs; with no tie, and with two."""
    for sizes in ([1, 2, 3, 4, 5, 6, 7], [1, 2, 2, 4]):
        ranks = range(1, len(sizes) + 1)
        sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(sizes))]
        for below in range(3):
            values = [-size if place == below else size for place, size in enumerate(sizes)]
            rank = below + 1 if len(set(sizes)) == len(sizes) or below != 1 else 3  # of two equal ones the higher
            chance = 2 * sum(total <= rank for total in sums) / len(sums)
            assert signed_rank_test(values) == pytest.approx(min(1, chance)), (sizes, below)
    assert signed_rank_test([0.0, 5.0, 6.0]) == signed_rank_test([5.0, 6.0])
    assert signed_rank_test([-1.0, -2.0]) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_gets_no_verdict(bad):
    with pytest.raises(NothingMeasured):
        paired_difference([0.0] * 30, [bad, *[1.0] * 29], [1] * 30)
    assert judge({"low": bad, "high": 1.0, "rows": 30}) == judge({"low": -9.0, "high": bad, "rows": 30}) == UNCLEAR


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        *itertools.product(["bell-shaped", "skewed"], [4, 8, 12, 19, 48]),
        *itertools.product(["one-sided"], [12, 15, 19, 48]),
    ],
)
def test_false_alarms_and_coverage(rows, shape):
    found = simulate(made(shape), rows, 2000)
    assert found["page"] <= 0.065 and found["coverage"] >= 0.93, found  # the targets, and what 2,000 pages may be off
    assert found["worse"] <= 0.01 and found["same"] <= 0.02, found
    assert rows >= FEWEST or found["worse"] == found["same"] == 0


def test_few_are_counted_and_many_are_a_share():
    assert share(11, 12) == "11 of 12" and share(29, 29) == "29 of 29" and share(0.5 * 30, 30) == "50% of 30"
    assert set(MARGINS) == {"NLL per token", "chrF per reply"}
