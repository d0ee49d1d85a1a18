"""Three ways to merge: what happens to one weight and to its change."""

from __future__ import annotations

from docs.drawings.nf4 import COUNT, measured
from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.show.words import _

LEFT = 372  # where the lines of numbers begin
FIRST, SHOWN = 8, 4  # levels that are drawn; level 7 is 0
WEIGHT, CHANGE = 0.185, 0.032  # shares of the block's largest weight; the change is under half a step
RATIO = 10  # mean rounding error / mean change, for the count; notebook 05 prints the run's own


def level_again() -> int:
    """How many of COUNT weights have their old NF4 level after a change and a second rounding, with bitsandbytes."""
    import bitsandbytes.functional as bnb
    import torch

    def noise(seed: int):
        return torch.randn(COUNT // 256, 256, generator=torch.Generator().manual_seed(seed))

    def packed(weights):
        return bnb.quantize_4bit(weights, quant_type="nf4", blocksize=64, compress_statistics=True)

    weights, change = noise(0) * 0.02, noise(1)
    codes, state = packed(weights)
    rounded = bnb.dequantize_4bit(codes, state)
    change *= (rounded - weights).abs().mean() / RATIO / change.abs().mean()
    again, _ = packed(rounded + change)
    return sum(int((codes >> shift & 15 == again >> shift & 15).sum()) for shift in (0, 4))


def draw() -> Drawing:
    levels = measured()["nf4"][0][FIRST : FIRST + SHOWN]
    nearest = min(levels, key=lambda level: abs(level - WEIGHT))
    half = min(abs(level - nearest) for level in levels if level != nearest) / 2
    assert half > CHANGE, "this drawing shows a change under half a step"
    back = level_again()
    counted = {"back": f"{back:,}", "all": f"{COUNT:,}"}
    alt = _(
        "One weight on a line with the levels of NF4, merged in three ways. Into the 16-bit base: the change is added "
        "to the exact weight. Into the dequantised base: the change is added to the level that the weight was rounded "
        "to, which is what was trained. Requantised: the sum is rounded to a level again and falls back to where it "
        "was, so the change is lost. Counted: {back} of {all} weights fall back."
    ).format(**counted)
    sheet = Drawing("merges", alt, 690)
    under = _("W′ = W + Δ, with Δ = α / r · B A; the tall marks are levels of 4 bits")
    sheet.head(_("Three ways to merge one weight"), under)

    def x(value: float) -> float:
        return LEFT + 40 + (value - levels[0]) / (levels[-1] - levels[0]) * (WIDTH - SIDE - LEFT - 80)

    rows = [
        (_("into the 16-bit base"), WEIGHT, "green", _("all of Δ is kept, on a W that\ndiffers from the trained one")),
        (_("into the dequantised base"), nearest, "green", _("all of Δ is kept, on the W\nthat was trained")),
        (_("requantised"), nearest, "red", _("rounded to 4 bits again:\nΔ is lost, without an error")),
    ]
    for row, (name, start, colour, words) in enumerate(rows):
        y, lost = 200 + 162 * row, colour == "red"
        sheet.path([(SIDE, y - 82), (WIDTH - SIDE, y - 82)], "rule", 1.5)
        sheet.text(SIDE, y - 34, name, 20, bold=True)
        sheet.lines(SIDE, y - 2, words.split("\n"), 17, colour=colour if lost else "soft")
        sheet.path([(LEFT, y), (WIDTH - SIDE, y)], "ink", 2)
        for level in levels:
            sheet.path([(x(level), y - 16), (x(level), y + 16)], "ink", 3)
        end = start + CHANGE
        sheet.circle(x(start), y, 9, "paper", "blue", 3.5)
        sheet.text(x(start), y + 42, "W", 18, "blue", "middle", bold=True)
        arrow = [(x(start), y - 22), (x(start), y - 34), (x(end), y - 34), (x(end), y - 11)]
        sheet.path(arrow, "green", 3, arrow=True)
        sheet.text((x(start) + x(end)) / 2, y - 44, "+ Δ", 18, "green", "middle", bold=True)
        if lost:
            sheet.circle(x(end), y, 8, "paper", "soft", 2)
            turn = [(x(end), y + 14), (x(end), y + 60), (x(start), y + 60), (x(start), y + 50)]
            sheet.path(turn, "red", 3, True, arrow=True)
            sheet.text(x(end) + 14, y + 66, _("back to its level: W′ = W"), 17, "red", bold=True)
        else:
            sheet.circle(x(end), y, 9, "green")
            sheet.text(x(end), y + 42, "W′", 18, "green", "middle", bold=True)
    told = _("Counted: with changes a tenth as large as the rounding error, {back} of {all} weights fall back")
    sheet.text(SIDE, 664, told.format(**counted), 15, "soft")
    return sheet
