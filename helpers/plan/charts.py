"""Pictures of a plan: stacked bars of the components, memory by length, sliders."""

from __future__ import annotations

from dataclasses import replace

from helpers.plan.memory import step_parts
from helpers.plan.need import needed_by_sum
from helpers.plan.parts import Part
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.clicks import telling
from helpers.show.pictures import Picture, Playable, chart
from helpers.show.tables import RED
from helpers.show.units import human_bytes
from helpers.show.words import N_, _

COLOURS = {  # the sum's names, and those of the simulation for the same
    N_("4-bit weights"): "#0969da",
    N_("quantisation constants"): "#54aeff",
    N_("16-bit weights"): "#2f5fa8",
    N_("32-bit weights"): "#2f5fa8",
    N_("adapter"): "#1a7f37",
    N_("gradients"): "#4ac26b",
    N_("optimizer state"): "#aceebb",
    N_("kept activations"): "#bc4c00",
    N_("activations"): "#bc4c00",
    N_("attention mask"): "#6e7781",
    N_("the layer at work"): "#fb8f44",
    N_("unpacked weights"): "#80ccff",
    N_("unpacked weight"): "#ffc680",
    N_("dequantised weight"): "#ffc680",
    N_("optimizer step"): "#8c959f",
    N_("loss"): "#8250df",
    N_("logits"): "#8250df",
    N_("driver and libraries"): "#57606a",
    N_("gaps"): "#afb8c1",
}


def stacked_bars(bars: dict[str, dict[str, float]], room: float = 0.0, title: str = "") -> Picture:
    """One horizontal bar per entry (label -> component -> bytes); a red line at `room` bytes."""
    figure, axes = chart(9, 1.4 + 0.55 * len(bars))
    largest = max(sum(parts.values()) for parts in bars.values())
    scale, unit = (1e9, "GB") if largest > 1e9 else (1e6, "MB")
    ends = [0.0] * len(bars)
    for name, colour in COLOURS.items():
        sizes = [parts.get(name, 0.0) / scale for parts in bars.values()]
        if any(sizes):
            label = _(name) if max(sizes) * scale > largest / 200 else None
            axes.barh(range(len(bars)), sizes, left=ends, color=colour, label=label)
            ends = [end + size for end, size in zip(ends, sizes, strict=True)]
    for row, end in enumerate(ends):
        axes.text(end, row, f"  {end:,.1f} {unit}", va="center")
    if room:
        axes.axvline(room / scale, color=RED, linestyle="--")
        axes.text(room / scale, -0.75, " " + _("{room} card").format(room=human_bytes(room)), color=RED, va="center")
    axes.set(yticks=range(len(bars)), yticklabels=[_(name) for name in bars], xlabel=unit, title=title)
    axes.set_xlim(0, 1.12 * max(largest, room) / scale)
    axes.invert_yaxis()
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=9)
    return Picture(figure, in_words(bars, room, title))


def in_words(bars: dict[str, dict[str, float]], room: float, title: str) -> str:
    """What the picture shows: each bar with its components, the largest first."""
    words = []
    for label, parts in bars.items():
        order = sorted(parts, key=parts.__getitem__, reverse=True)
        named = ", ".join(f"{_(name)} {human_bytes(parts[name])}" for name in order if parts[name])
        words.append(f"{label} {human_bytes(sum(parts.values()))}: {named}")
    if room:
        words.append(_("The card has {room}").format(room=human_bytes(room)))
    return f"{title or _('Memory')}. {'; '.join(words)}"


def as_bar(parts: list[Part]) -> dict[str, float]:
    """Parts as `stacked_bars` takes them."""
    return {part.name: part.bytes for part in parts}


def sliders(config: RunConfig, shape: Shape, room: float = 0.0) -> Playable:
    """Length, batch, rank and checkpointing to play with; the bar below follows. Without a live kernel: the bar."""
    import ipywidgets as widgets

    style = {"style": {"description_width": "120px"}, "continuous_update": False}

    def choice(value: int, powers: range, name: str):
        options = sorted({2**i for i in powers} | {value})
        return widgets.SelectionSlider(options=options, value=value, description=name, **style)

    batch = config.per_device_train_batch_size
    controls = {
        "max_length": choice(config.max_length, range(5, 15), _("tokens per row")),
        "per_device_train_batch_size": widgets.IntSlider(
            batch, 1, max(32, batch), description=_("rows per step"), **style
        ),
        "lora_r": choice(config.lora_r, range(1, 10), _("LoRA rank")),
        "activation_checkpointing": widgets.Checkbox(config.activation_checkpointing, description=_("checkpointing")),
        "load_in_4bit": widgets.Checkbox(config.load_in_4bit, description=_("4-bit base")),
    }

    def bar(changed: RunConfig) -> Picture:
        whole = _("with driver and gaps {size}").format(size=human_bytes(needed_by_sum(changed, shape)))
        return stacked_bars({_("chosen"): as_bar(step_parts(changed, shape))}, room, whole)

    shown, told = widgets.HTML(), widgets.Label()

    # drawn into the page of the widget: nothing has to capture the output of a callback
    def draw(change=None):
        chosen = {name: control.value for name, control in controls.items()}
        shown.value = bar(replace(config, **chosen))._repr_html_()

    for control in controls.values():
        control.observe(telling(told, draw), "value")
    draw()
    return Playable(widgets.VBox([*controls.values(), told, shown]), bar(config))
