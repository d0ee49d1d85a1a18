"""The paired comparisons as a picture: how far each difference lies from the margin below which nothing matters."""

from __future__ import annotations

from helpers.evaluate.intervals import BETTER, MARGINS, WORSE
from helpers.show.pictures import Picture
from helpers.show.tables import GREEN, GREY, RED

COLOURS = {BETTER: GREEN, WORSE: RED}  # every other verdict is grey; the verdict stands beside each line in words


def paired_chart(paired: list[dict]) -> Picture:
    """One panel per number of `paired` (see `really_better`), in its own unit: dot, interval, verdict; the margin is a band."""
    from matplotlib.figure import Figure

    numbers = list(dict.fromkeys(row["number"] for row in paired))
    most = max(sum(row["number"] == number for row in paired) for number in numbers)
    figure, said = Figure(figsize=(8, (0.5 * most + 1.1) * len(numbers)), layout="constrained"), []
    panels = figure.subplots(len(numbers), squeeze=False)
    for number, axes in zip(numbers, panels[:, 0], strict=True):
        rows = [row for row in paired if row["number"] == number]
        axes.axvspan(-MARGINS[number], MARGINS[number], color=GREY, alpha=0.2, linewidth=0)
        axes.axvline(0, color=GREY, linewidth=1)
        for y, row in enumerate(rows):
            colour = COLOURS.get(row["verdict"], GREY)
            if row["low"] is not None:  # None: a single row has no interval
                axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=3, alpha=0.5)
            axes.plot(row["difference"], y, "o", color=colour)
            told = f"{row['difference']:+.3f} {row['verdict']}"
            said.append(f"{number}, {row['model']} minus {row['against']}: {told}")
            axes.annotate(told, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        axes.set_yticks(range(len(rows)), [f"{row['model']} − {row['against']}" for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        better = "right" if number.startswith("chrF") else "left"
        axes.set_xlabel(f"difference in {number}; better is to the {better}, grey is the margin")
        axes.spines[["top", "right", "left"]].set_visible(False)
    return Picture(figure, "; ".join(said))
