"""Pictures that say in words what they show: plain images and SVG, which need no kernel, no widget and no network."""

from __future__ import annotations

import base64
import html
import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from markupsafe import Markup

from helpers.show.pages import render_page
from helpers.show.tables import BLUE, GREEN, ORANGE, RED, Table
from helpers.show.words import _

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARP = 150  # dots per inch, shown as 100: letters are clear on a screen of high resolution, too
PALETTE = [BLUE, ORANGE, GREEN, "#8250df", RED, "#0f766e", "#9a6700", "#bf3989", "#656d76", "#0a7ea4"]
INK = "#6e7781"  # of words and axes: a contrast of 4 : 1 or more to a white page and to a dark one


def chart(width: float = 8, height: float = 3.2, rows: int = 1, columns: int = 1, **grid) -> tuple[Figure, Any]:
    """A matplotlib figure of `width` by `height` inches in our style, and its axes, as `pyplot.subplots` gives them.

    `grid`: keywords of `Figure.subplots`. Its background is the page's, dark or light; show it with `Picture`.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.rcsetup import cycler

    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    style = {"axes.prop_cycle": cycler(color=PALETTE), "axes.spines.top": False, "axes.spines.right": False}
    style |= {"figure.facecolor": "none", "axes.facecolor": "none", "legend.frameon": False, "lines.linewidth": 1.8}
    matplotlib.rcParams.update(cast("Any", style | dict.fromkeys(inked, INK)))
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **grid)


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure for a page, never wider than it; `alt` is read to those who cannot see it."""

    figure: Figure
    alt: str

    def __post_init__(self):
        if pyplot := sys.modules.get("matplotlib.pyplot"):
            pyplot.close(self.figure)  # a figure that pyplot made would be shown once more at the end of the cell

    def _repr_html_(self) -> str:
        # not as image/png: JupyterLab shows those without an alternative text
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=SHARP, bbox_inches="tight")
        width = int.from_bytes(file.getvalue()[16:20]) * 100 // SHARP  # of a PNG, these bytes are its width
        source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        return f'<img alt="{html.escape(self.alt)}" width="{width}" style="max-width:100%;height:auto" src="{source}">'

    __html__ = _repr_html_  # for templates

    def __repr__(self) -> str:
        return self.alt


@dataclass(frozen=True)
class Playable:
    """A widget, and what stands in its place where there is none: a saved copy, or a server without ipywidgets."""

    widget: Any
    still: Picture | Table

    def _repr_mimebundle_(self, **kwargs) -> dict:
        return {
            **self.widget._repr_mimebundle_(**kwargs),
            "text/html": self.still._repr_html_(),
            "text/plain": repr(self.still),
        }


def curve(rows: list[dict], width: int = 520, height: int = 170) -> Markup:
    """Training loss (line) and held-out loss (dots) over the steps, as SVG with a text for those who cannot see it."""
    named = {
        name: [(int(row["step"]), float(row[name])) for row in rows if name in row] for name in ("loss", "eval_loss")
    }
    points = [point for line in named.values() for point in line]
    if not points:
        return Markup("")
    most, low, high = max(s for s, _ in points), min(v for _, v in points), max(v for _, v in points)

    def at(step: float, value: float) -> tuple[float, float]:
        y = 10 + (high - value) / ((high - low) or 1) * (height - 20)
        return round(60 + step / (most or 1) * (width - 75), 1), round(y, 1)  # right of the numbers

    lines = {name: [at(*point) for point in line] for name, line in named.items()}
    marks = [(f"{value:.2f}", at(0, value)[1] + 5) for value in (low, high)]
    text = _("Loss over {steps} steps, from {high:.2f} down to {low:.2f}: line training, dots held out")
    text = text.format(steps=most, high=high, low=low)
    values = {"width": width, "height": height, "lines": lines, "marks": marks, "text": text}
    return Markup(render_page("curve.html.j2", **values, blue=BLUE, orange=ORANGE))
