"""How an interval narrows with the number of rows, for one and the same share."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.evaluate.intervals import wilson_interval
from helpers.show.words import _

SHARE, COUNTS = 0.75, (8, 16, 48, 200, 1000)
LEFT, TOP, ROW = 200, 170, 62


def draw() -> Drawing:
    spans = [wilson_interval(SHARE * n, n) for n in COUNTS]
    one, between = _("{count} rows: {span}"), _("{low} to {high}")
    spans_in_words = [between.format(low=f"{low:.0%}", high=f"{high:.0%}") for low, high in spans]
    told = "; ".join(one.format(count=n, span=span) for n, span in zip(COUNTS, spans_in_words, strict=True))
    alt = _("Three of four replies are right, with more and more rows. The 95 % interval of the share: {spans}.")
    foot = TOP + ROW * len(COUNTS) - 24
    sheet = Drawing("interval", alt.format(spans=told), foot + 96)
    under = _("three of four replies are right; the bar is the 95 % interval")
    sheet.head(_("The same result, with more rows"), under)

    def x(share: float) -> float:
        return LEFT + share * (WIDTH - SIDE - 130 - LEFT)

    for share in (0, 0.25, 0.5, 0.75, 1):
        sheet.path([(x(share), TOP - 32), (x(share), foot)], "rule", 1.5)
        sheet.text(x(share), foot + 26, f"{share:.0%}", 16, "soft", "middle")
    for row, (n, (low, high)) in enumerate(zip(COUNTS, spans, strict=True)):
        y = TOP + ROW * row
        counted = _("{right} of {of}").format(right=f"{SHARE * n:,.0f}", of=f"{n:,}")
        sheet.text(LEFT - 24, y + 6, counted, 18, anchor="end", bold=True)
        sheet.path([(x(low), y), (x(high), y)], "blue", 9)
        sheet.circle(x(SHARE), y, 8, "paper", "blue", 3.5)
        sheet.text(WIDTH - SIDE, y + 6, spans_in_words[row], 17, "soft", "end")
    words = _("Half the width costs four times the rows. Eight rows leave nearly everything open.")
    sheet.text(SIDE, foot + 68, words, 17, "soft")
    return sheet
