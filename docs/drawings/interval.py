"""How an interval narrows with the number of rows, for one and the same share."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.evaluate.intervals import wilson_interval

SHARE, COUNTS = 0.75, (8, 16, 48, 200, 1000)
LEFT, TOP, ROW = 200, 170, 62


def draw() -> Drawing:
    spans = [wilson_interval(SHARE * n, n) for n in COUNTS]
    told = "; ".join(f"{n} rows: {low:.0%} to {high:.0%}" for n, (low, high) in zip(COUNTS, spans, strict=True))
    alt = f"Three of four replies are right, with more and more rows. The 95 % interval of the share: {told}."
    foot = TOP + ROW * len(COUNTS) - 24
    sheet = Drawing("interval", alt, foot + 96)
    sheet.head("The same result, with more rows", "three of four replies are right; the bar is the 95 % interval")

    def x(share: float) -> float:
        return LEFT + share * (WIDTH - SIDE - 130 - LEFT)

    for share in (0, 0.25, 0.5, 0.75, 1):
        sheet.path([(x(share), TOP - 32), (x(share), foot)], "rule", 1.5)
        sheet.text(x(share), foot + 26, f"{share:.0%}", 16, "soft", "middle")
    for row, (n, (low, high)) in enumerate(zip(COUNTS, spans, strict=True)):
        y = TOP + ROW * row
        sheet.text(LEFT - 24, y + 6, f"{SHARE * n:,.0f} of {n:,}", 18, anchor="end", bold=True)
        sheet.path([(x(low), y), (x(high), y)], "blue", 9)
        sheet.circle(x(SHARE), y, 8, "paper", "blue", 3.5)
        sheet.text(WIDTH - SIDE, y + 6, f"{low:.0%} to {high:.0%}", 17, "soft", "end")
    words = "Half the width costs four times the rows. Eight rows leave nearly everything open."
    sheet.text(SIDE, foot + 68, words, 17, "soft")
    return sheet
