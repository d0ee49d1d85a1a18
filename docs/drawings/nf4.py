"""NF4: sixteen levels where the weights of a bell curve are, and what it gains over two other 4-bit formats."""

from __future__ import annotations

from math import erf, exp, sqrt

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.show.words import _

BLOCK = 64  # weights that share one scale
COUNT = 256 * 256  # weights that are measured
LEFT, RIGHT = 190, 760  # x of -1 and of +1
FOOT, PEAK = 330, 200  # y of the axis; height of the curve


def measured() -> dict[str, tuple[list[float], float]]:
    """Format -> (its levels from -1 to 1, mean error as a share of the mean weight) on the tensor of notebook 01."""
    import bitsandbytes.functional as bnb
    import torch

    weights = torch.randn(COUNT // 256, 256, generator=torch.Generator().manual_seed(0)) * 0.02
    blocks = weights.view(-1, BLOCK)
    found = {}
    for name in ("nf4", "fp4"):
        packed, state = bnb.quantize_4bit(weights, quant_type=name, blocksize=BLOCK, compress_statistics=True)
        found[name] = sorted(set(state.code.tolist())), bnb.dequantize_4bit(packed, state).view(-1, BLOCK)
    largest = blocks.abs().amax(dim=1, keepdim=True)
    found["int4"] = [i / 7 for i in range(-7, 8)], (blocks / largest * 7).round() / 7 * largest
    average = blocks.abs().mean()
    return {name: (levels, float((back - blocks).abs().mean() / average)) for name, (levels, back) in found.items()}


def spread() -> float:
    """The standard deviation of weights divided by the largest of their block: 1 / E[max of 64 |z|], by integration."""
    step = 0.001
    return 1 / sum(step * (1 - erf(i * step / sqrt(2)) ** BLOCK) for i in range(8000))


def draw() -> Drawing:
    formats = measured()
    errors = {name: f"{100 * error:.1f} %" for name, (_, error) in formats.items()}
    alt = _(
        "A bell curve of weights between -1 and 1 with the 16 levels of NF4 on it: close together in the middle, where "
        "most weights are, and far apart at the ends. Below it the levels of three formats and the mean error of each "
        "on the same weights: NF4 {nf4}, evenly spaced int4 {int4}, FP4 {fp4}."
    ).format(**errors)
    sheet, deviation = Drawing("nf4", alt, 606), spread()

    def x(value: float) -> float:
        return LEFT + (value + 1) / 2 * (RIGHT - LEFT)

    def y(value: float) -> float:
        return FOOT - PEAK * exp(-((value / deviation) ** 2) / 2)

    under = _("weights of one block of {size}, divided by the largest of them").format(size=BLOCK)
    sheet.head(_("NF4: 16 levels where the weights are"), under)
    curve = [(x(i / 100), y(i / 100)) for i in range(-100, 101, 2)]
    sheet.path([(LEFT, FOOT), *curve, (RIGHT, FOOT)], fill="blue-wash")
    sheet.path(curve, "blue", 3)
    for level in formats["nf4"][0]:
        top = min(y(level), FOOT - 14)
        sheet.path([(x(level), FOOT), (x(level), top)], "green", 2.5)
        sheet.circle(x(level), top, 5.5, "green", "paper", 2)
    sheet.path([(LEFT - 12, FOOT), (RIGHT + 12, FOOT)], "ink", 2)
    for value, words in ((-1, "−1"), (0, "0"), (1, "1")):
        sheet.text(x(value), FOOT + 28, words, 18, anchor="middle")
    sheet.lines(SIDE, 150, _("many weights,\nlevels close together").split("\n"), 17, colour="green")
    sheet.path([(SIDE + 200, 170), (x(-0.31), 170)], "green", 2, arrow=True)
    sheet.lines(WIDTH - SIDE, 190, _("few weights,\nlevels far apart").split("\n"), 17, colour="green", anchor="end")
    sheet.path([(WIDTH - SIDE - 74, 228), (x(0.87), FOOT - 34)], "green", 2, arrow=True)

    sheet.text(WIDTH - SIDE, 398, _("mean error"), 17, "soft", "end", bold=True)
    for row, (name, words) in enumerate((("nf4", "NF4"), ("int4", _("int4, even")), ("fp4", "FP4"))):
        levels, error = formats[name]
        middle, best = 430 + 46 * row, name == "nf4"
        colour = "green" if best else "soft"
        sheet.text(SIDE, middle + 6, words, 18, bold=best)
        sheet.path([(LEFT, middle), (RIGHT, middle)], "rule", 1.5)
        for level in levels:
            sheet.path([(x(level), middle - 11), (x(level), middle + 11)], colour, 3)
        sheet.text(WIDTH - SIDE, middle + 7, errors[name], 20, "ink", "end", bold=best)
    told = _(
        "mean error: |after − before| / mean |weight|, on {count} weights of a bell curve (the tensor of notebook 01)"
    )
    sheet.text(SIDE, 580, told.format(count=f"{COUNT:,}"), 15, "soft")
    return sheet
