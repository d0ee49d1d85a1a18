"""The paired comparisons as a picture: how far each difference lies from the margin below which nothing matters."""

from __future__ import annotations

from helpers.evaluate.intervals import BETTER, CHRF, MARGINS, NLL, WORSE
from helpers.show.pictures import Picture, chart
from helpers.show.tables import GREEN, GREY, RED
from helpers.show.words import _

COLOURS = {BETTER: GREEN, WORSE: RED}  # every other verdict is grey; the verdict stands beside each line in words


def paired_chart(paired: list[dict]) -> Picture:
    """One panel per number of `paired` (see `really_better`), in its own unit; the margin is a band.

    Each difference is a dot with its interval; of few rows, each row is a small dot in the place of the interval.
    """
    numbers = [number for number in MARGINS if number in {row["number"] for row in paired}]
    figure, grid = chart(8, 0.5 * len(paired) + 1.1 * len(numbers), rows=len(numbers), squeeze=False)
    labels = {
        NLL: _("difference in {number}; better is to the left, grey is the margin"),
        CHRF: _("difference in {number}; better is to the right, grey is the margin"),
    }
    alt = []
    for number, axes in zip(numbers, grid[:, 0], strict=True):
        rows = [row for row in paired if row["number"] == number]
        axes.axvspan(-MARGINS[number], MARGINS[number], color=GREY, alpha=0.2, linewidth=0)
        axes.axvline(0, color=GREY, linewidth=1)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(labels[number].format(number=_(number)))
        for y, row in enumerate(rows):
            verdict = f"{row['difference']:+.3f} {_(row['verdict'])}"
            _draw(axes, y, row)
            axes.annotate(verdict, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=9)
            pair = _("{number}, {model} minus {other}: {verdict}")
            alt.append(pair.format(number=_(number), model=row["model"], other=row["against"], verdict=verdict))
        axes.set_yticks(range(len(rows)), [f"{row['model']} − {row['against']}" for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
    return Picture(figure, "; ".join(alt))


def _draw(axes, y: int, row: dict) -> None:
    colour = COLOURS.get(row["verdict"], GREY)
    if "by_row" in row:
        axes.plot(row["by_row"], [y] * len(row["by_row"]), "o", color=colour, markersize=4, alpha=0.4)
    elif row["low"] is not None:  # None: a single row has no interval
        axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=3, alpha=0.5)
    axes.plot(row["difference"], y, "o", color=colour, markersize=8)
