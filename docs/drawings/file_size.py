"""Size of a file against its loss, as the demo measured them (docs/gallery)."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from docs.figures import figure
from helpers.show.words import _

FILES = {"f16": "f16", "q8_0": "q8", "q4_k_m": "q4"}
LEFT, RIGHT, TOP, FOOT = 130, WIDTH - SIDE - 60, 170, 400


def draw() -> Drawing:
    points = {name: (float(figure(f"serve.{key}")), float(figure(f"serve.{key}_more"))) for name, key in FILES.items()}
    point = _("{name} {size} MB, {more} nats more")
    told = "; ".join(point.format(name=n, size=f"{size:g}", more=f"{more:+.3f}") for n, (size, more) in points.items())
    same = {"same": figure("serve.q4_same"), "of": figure("serve.tokens")}
    alt = _(
        "The demo's files, size against the loss that they add: {files}. The smallest makes {same} of {of} first "
        "choices alike."
    ).format(files=told, **same)
    sheet = Drawing("file_size", alt, 500)
    sheet.head(
        _("A smaller file has a price"), _("the demo's three files, measured in llama.cpp (the run of the gallery)")
    )
    widest = max(size for size, _ in points.values())
    worst = max(*(more for _, more in points.values()), 0.02)

    def at(size: float, more: float) -> tuple[float, float]:
        return LEFT + size / (1.08 * widest) * (RIGHT - LEFT), FOOT - more / (1.15 * worst) * (FOOT - TOP)

    sheet.path([(LEFT, TOP - 20), (LEFT, FOOT), (RIGHT, FOOT)], "ink", 2)
    sheet.text(LEFT - 12, FOOT + 6, "0", 16, "soft", "end")
    y = at(0, 0.02)[1]
    sheet.path([(LEFT, y), (RIGHT, y)], "orange", 2, True)
    sheet.text(RIGHT, y - 12, _("0.02 nats: the margin, from here on it would matter"), 16, "orange", "end")
    sheet.lines(SIDE, TOP - 40, [_("nats per token more than the merged model")], 16, colour="soft")
    for name, (size, more) in points.items():
        x, y = at(size, more)
        sheet.path([(x, FOOT), (x, y)], "blue", 3)
        sheet.circle(x, y, 10, "paper", "blue", 4)
        sheet.text(x, y - 40, name, 19, anchor="middle", bold=True)
        sheet.text(x, y - 19, f"{more:+.3f}", 16, "soft", "middle")
        sheet.text(x, FOOT + 26, f"{size:g} MB", 17, anchor="middle")
    words = _("The smallest file still makes the same first choice at {same} of {of} answer tokens.")
    sheet.text(SIDE, 474, words.format(**same), 17, "soft")
    return sheet
