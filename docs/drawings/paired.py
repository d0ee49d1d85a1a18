"""The same two models twice: all rows in two heaps, and row by row."""

from __future__ import annotations

from docs.drawings.paper import Drawing
from helpers.evaluate.intervals import paired_difference, ratio_interval
from helpers.show.words import _

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
    ends = [f"{end:.2f}" for span in spans for end in span]
    signed = {name: f"{gap[name]:+.2f}".replace("-", "−") for name in ("difference", "low", "high")}
    told = _("{difference} ({low} to {high})").format(**signed)
    alt = _(
        "The losses of {rows} rows under two models, drawn twice. Left, as two heaps: their means have wide intervals "
        "that overlap, {a} to {b} and {c} to {d}. Right, a line joins the two dots of each row: {better} of {rows} "
        "fall, and the mean difference is {difference}, clearly below 0."
    ).format(rows=ROWS, better=better, difference=told, **dict(zip("abcd", ends, strict=True)))
    sheet = Drawing("paired", alt, 570)
    under = _("an invented example: the same {rows} rows, the same losses, looked at twice").format(rows=ROWS)
    sheet.head(_("Compare row by row"), under)

    def y(loss: float) -> float:
        return TOP + (1.6 - loss) / 1.4 * (FOOT - TOP)

    for (a, b), words in ((LEFT, _("as two heaps")), (RIGHT, _("as pairs"))):
        sheet.text((a + b) / 2, 128, words, 20, anchor="middle", bold=True)
        for x, name in ((a, _("base")), (b, _("adapter"))):
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
    right, fall = _("{difference}: better").format(difference=told), _("{better} of {rows}\nrows fall")
    sheet.text((LEFT[0] + LEFT[1]) / 2, FOOT + 66, _("the intervals overlap: luck?"), 18, "orange", "middle", True)
    sheet.text((RIGHT[0] + RIGHT[1]) / 2, FOOT + 66, right, 18, "green", "middle", True)
    sheet.lines(800, y(1.15), fall.format(better=better, rows=ROWS).split("\n"), 17, colour="green")
    return sheet
