"""The same two models twice: all rows in two heaps, and row by row."""

from __future__ import annotations

from docs.drawings.paper import Drawing
from helpers.evaluate.intervals import paired_difference, ratio_interval

ROWS = 24
SPREAD, GAIN = 0.55, 0.12  # nats: rows differ far more from each other than the two models do
LEFT, RIGHT, TOP, FOOT = (150, 330), (580, 760), 150, 470


def losses() -> tuple[list[float], list[float]]:
    """An invented comparison: easy and hard rows, and a second model that is a little better on nearly all."""
    base = [1 + SPREAD * (2 * i / (ROWS - 1) - 1) for i in range(ROWS)]
    return base, [loss - GAIN - 0.19 * ((7 * i) % 11 - 5) / 5 for i, loss in enumerate(base)]


def draw() -> Drawing:
    base, tuned = losses()
    ones = [1.0] * ROWS
    spans = [ratio_interval(rows, ones) for rows in (base, tuned)]
    gap = paired_difference(base, tuned, ones)
    better = sum(after < before for before, after in zip(base, tuned, strict=True))
    apart = f"{spans[0][0]:.2f} to {spans[0][1]:.2f} and {spans[1][0]:.2f} to {spans[1][1]:.2f}"
    told = f"{gap['difference']:+.2f} ({gap['low']:+.2f} to {gap['high']:+.2f})".replace("-", "−")
    alt = (
        f"The losses of {ROWS} rows under two models, drawn twice. Left, as two heaps: their means have wide intervals "
        f"that overlap, {apart}. Right, a line joins the two dots of each row: {better} of {ROWS} fall, and the mean "
        f"difference is {told}, clearly below 0."
    )
    sheet = Drawing("paired", alt, 570)
    sheet.head("Compare row by row", f"an invented example: the same {ROWS} rows, the same losses, looked at twice")

    def y(loss: float) -> float:
        return TOP + (1.6 - loss) / 1.4 * (FOOT - TOP)

    for (a, b), words in ((LEFT, "as two heaps"), (RIGHT, "as pairs")):
        sheet.text((a + b) / 2, 128, words, 20, anchor="middle", bold=True)
        for x, name in ((a, "base"), (b, "adapter")):
            sheet.text(x, FOOT + 28, name, 17, "soft", "middle")
    for before, after in zip(base, tuned, strict=True):
        colour = "green" if after < before else "orange"
        sheet.path([(RIGHT[0], y(before)), (RIGHT[1], y(after))], colour, 2)
        for xs in (LEFT, RIGHT):
            sheet.circle(xs[0], y(before), 5, "paper", "soft", 2)
            sheet.circle(xs[1], y(after), 5, "paper", "blue", 2)
    for x, (low, high), colour, side in ((LEFT[0], spans[0], "soft", -1), (LEFT[1], spans[1], "blue", 1)):
        at = x + 34 * side
        sheet.path([(at, y(low)), (at, y(high))], colour, 7)
        sheet.circle(at, y((low + high) / 2), 9, "paper", colour, 3.5)
    sheet.path([(480, 112), (480, FOOT + 40)], "rule", 1.5)
    sheet.text((LEFT[0] + LEFT[1]) / 2, FOOT + 66, "the intervals overlap: luck?", 18, "orange", "middle", True)
    sheet.text((RIGHT[0] + RIGHT[1]) / 2, FOOT + 66, f"{told}: better", 18, "green", "middle", True)
    sheet.lines(800, y(1.15), [f"{better} of {ROWS}", "rows fall"], 17, colour="green")
    return sheet
