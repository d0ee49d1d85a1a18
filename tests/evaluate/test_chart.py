"""The picture of the paired comparisons shows every difference in its unit, with the verdict in words."""

import pytest

from helpers.evaluate.chart import paired_chart
from helpers.evaluate.intervals import BETTER, MARGINS, SAME, TOO_FEW, WORSE
from helpers.show.tables import GREEN, GREY, RED

NLL, CHRF = MARGINS


def compared(number, difference, low, high, verdict, **more):
    gap = {"difference": difference, "low": low, "high": high, "verdict": verdict}
    return {"number": number, "model": "adapter", "against": "base", **gap, **more}


def test_a_panel_for_each_number_with_its_own_margin():
    better, worse = compared(NLL, -1.4, -1.5, -1.3, BETTER), compared(NLL, 0.5, 0.4, 0.6, WORSE)
    shown = paired_chart([better, compared(CHRF, 0.2, -0.1, 0.4, SAME), worse])
    nll, chrf = shown.figure.axes
    for axes, number in ((nll, NLL), (chrf, CHRF)):
        band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        assert abs(band.width - 2 * MARGINS[number]) < 1e-9 and number in axes.get_xlabel()
    assert "to the left" in nll.get_xlabel() and "to the right" in chrf.get_xlabel()
    assert [text.get_text() for text in nll.texts] == ["-1.400 better", "+0.500 worse"]
    dots = [line.get_color() for axes in (nll, chrf) for line in axes.lines if line.get_marker() == "o"]
    assert dots == [GREEN, RED, GREY]
    assert f"{NLL}, adapter minus base: -1.400 better" in shown.alt and "+0.500 worse" in shown.alt


@pytest.mark.parametrize(
    ("row", "dots"),
    [
        (compared(NLL, -0.3, None, None, TOO_FEW), []),  # no interval
        (compared(NLL, -0.3, -0.5, -0.1, BETTER, by_row=[-0.2, -0.4]), [[-0.2, -0.4]]),  # few rows, in its place
    ],
)
def test_what_has_no_interval_is_dots(row, dots):
    (axes,) = paired_chart([row]).figure.axes
    assert [list(line.get_xdata()) for line in axes.lines] == [[0, 0], *dots, [-0.3]]
