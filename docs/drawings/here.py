"""Where a page stands in the series: a strip for the head of each notebook."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from docs.drawings.series_map import NOTEBOOKS
from helpers.show.words import N_, _

APPENDICES = {
    "A1": ("00", N_("Memory")),
    "A2": ("06", N_("Preference")),
    "A3": ("04", N_("Trainer")),
    "A4": ("04", N_("By hand")),
    "A5": ("06", N_("Reward")),
}
PAGES = {"first": N_("First look"), **NOTEBOOKS, **{name: words for name, (_above, words) in APPENDICES.items()}}
Y, LOW = 46, 104  # of the series, and of its appendices


def draw(page: str) -> Drawing:
    series = ["first", *NOTEBOOKS]
    step = (WIDTH - 2 * SIDE - 60) / (len(series) - 1)
    places = {name: (SIDE + 30 + step * i, Y) for i, name in enumerate(series)}
    for name, (above, _words) in APPENDICES.items():
        beside = [other for other, (parent, _words) in APPENDICES.items() if parent == above]
        shift = (beside.index(name) - (len(beside) - 1) / 2) * 64
        places[name] = (places[above][0] + shift, LOW)
    name = _(PAGES[page])
    alt = _("You are here: {page}, in a row of pages from First look by way of 00 to 09, with five appendices below.")
    sheet = Drawing(f"here_{page}", alt.format(page=name), 136)
    for here, there in zip(series, series[1:], strict=False):
        sheet.path([(places[here][0] + 24, Y), (places[there][0] - 24, Y)], "rule", 3)
    for appendix, (above, _words) in APPENDICES.items():
        (x, y), (up, _y) = places[appendix], places[above]
        sheet.path([(up, Y + 24), (x, y - 20)], "rule", 2)
    behind = series.index(page) if page in series else -1
    for number, (x, y) in places.items():
        size = 22 if y == Y else 19
        if number == page:
            sheet.circle(x, y, size + 3, "blue", "blue", 2)
        else:
            gone = number in series and series.index(number) < behind
            sheet.circle(x, y, size, "blue-wash" if gone else "paper", "blue" if gone else "rule", 2)
        words = "▶" if number == "first" else number
        sheet.text(
            x, y + 7, words, 18 if y == Y else 16, "paper" if number == page else "ink", "middle", number == page
        )
    sheet.text(294, LOW + 7, name, 22, "blue", "middle", True)  # where nothing hangs
    return sheet
