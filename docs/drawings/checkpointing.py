"""Activation checkpointing with a frozen base: what is kept, what is computed again."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.model.shapes import SHAPES
from helpers.plan.memory import saved_by_layer
from helpers.plan.parts import adapter_parameters
from helpers.plan.shape import Shape
from helpers.plan.time import operations_per_token
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import _

LAYERS, FULL = 5, 250  # layers that are drawn; width of all that a layer keeps


def numbers() -> dict:
    """Bytes kept and operations of one pass of the preset llama2-7b, without and with checkpointing."""
    config = RunConfig.load("llama2-7b")
    shape = Shape.of(SHAPES[config.model_id])
    tokens = config.per_device_train_batch_size * config.max_length
    layer, adapter = saved_by_layer(config, shape) * tokens, adapter_parameters(config, shape)
    work = [operations_per_token(shape, config.max_length, adapter, again) for again in (False, True)]
    return {
        "tokens": f"{config.per_device_train_batch_size} × {config.max_length:,}",
        "layers": shape.layers,
        "all": shape.layers * layer,
        "inputs": shape.layers * 2 * shape.hidden * tokens,
        "one": layer,
        "more": work[1] / work[0] - 1,
    }


def draw() -> Drawing:
    n = numbers()
    kept, more = human_bytes(n["inputs"] + n["one"]), f"{100 * n['more']:.0f} %"
    alt = _(
        "Two stacks of layers. Left, without checkpointing, every layer keeps all that its backward pass will need. "
        "Right, with checkpointing, a layer keeps only its input, and one layer at a time is computed again in the "
        "backward pass. For Llama-2-7B with {tokens} tokens: {all} against {kept}, for {more} more operations, since a "
        "frozen base has a short backward pass."
    ).format(tokens=n["tokens"], all=human_bytes(n["all"]), kept=kept, more=more)
    sheet = Drawing("checkpointing", alt, 694)
    under = _("activations of Llama-2-7B ({layers} layers), {tokens} tokens, frozen base")
    sheet.head(_("Checkpointing: forget, and compute again"), under.format(**n))
    half, small = WIDTH / 2, FULL * n["inputs"] / n["all"]  # the bars are to scale
    for left, again in ((SIDE, False), (half + 14, True)):
        sheet.text(left, 132, _("with checkpointing") if again else _("without"), 20, bold=True)
        for i in range(LAYERS):
            y, at_work = 156 + 44 * (LAYERS - 1 - i), again and i == 2
            sheet.box(left, y, 104, 34, "blue-wash", "blue", 6, 1.5)
            number = i + 1 if i < LAYERS - 1 else "…"
            sheet.text(left + 52, y + 23, _("layer {number}").format(number=number), 16, anchor="middle")
            if not again:
                sheet.box(left + 118, y + 4, FULL, 26, "orange", radius=4)
            else:
                sheet.box(left + 118, y + 4, small, 26, "orange", radius=3)
                if at_work:
                    sheet.box(left + 122 + small, y + 4, FULL, 26, "orange-wash", "orange", 4, 2, True)
        base = 156 + 44 * LAYERS + 30
        size = n["inputs"] + n["one"] if again else n["all"]
        sheet.text(left, base, human_bytes(size), 26, "orange", bold=True)
        what = _("the inputs, and one layer computed again") if again else _("all that the backward pass needs")
        sheet.text(left, base + 28, what, 17, "soft")
    sheet.path([(half - 8, 112), (half - 8, 436)], "rule", 1.5)

    # time: one unit is a forward pass
    sheet.path([(SIDE, 460), (WIDTH - SIDE, 460)], "rule", 1.5)
    sheet.text(SIDE, 494, _("work of one step"), 17, "soft", bold=True)
    unit, left = 190, SIDE + 150
    for row, (words, again) in enumerate(((_("without"), False), (_("with"), True))):
        y, x = 512 + 54 * row, left
        sheet.text(SIDE, y + 28, words, 18)
        passes = ((_("forward"), True, "blue"), (_("forward again"), again, "orange"), (_("backward"), True, "blue"))
        for name, there, colour in passes:
            if there:
                sheet.box(x, y, unit - 4, 42, f"{colour}-wash", colour, 6, 2, colour == "orange")
                sheet.text(x + unit / 2 - 2, y + 28, name, 17, anchor="middle")
                x += unit
        if again:
            sheet.text(x + 10, y + 28, f"+{more}", 22, "orange", bold=True)
    frozen = _("A frozen W needs no gradient of its own, so backward is about as long as forward.")
    everything = _("When everything is trained, backward is twice as long: then it is +{share} %.")
    sheet.lines(SIDE, 648, [frozen, everything.format(share=f"{100 / 3:.0f}")], 16, colour="soft")
    return sheet
