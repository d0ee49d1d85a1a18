"""Pictures of a plan: stacked bars of the components, memory by length, sliders."""

from __future__ import annotations

from dataclasses import replace

from helpers.plan.memory import Part, step_parts
from helpers.plan.need import needed_by_sum
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.pictures import Picture, Playable
from helpers.show.tables import RED
from helpers.show.units import human_bytes

COLOURS = {
    "4-bit weights": "#0969da",
    "quantisation constants": "#54aeff",
    "16-bit weights": "#0a3069",
    "32-bit weights": "#0a3069",
    "adapter": "#1a7f37",
    "gradients": "#4ac26b",
    "optimizer state": "#aceebb",
    "kept activations": "#bc4c00",
    "activations": "#bc4c00",  # this one and the two below are the simulation's names
    "attention mask": "#6e7781",
    "the layer at work": "#fb8f44",
    "unpacked weight": "#ffc680",
    "dequantised weight": "#ffc680",
    "loss": "#8250df",
    "logits": "#8250df",
    "driver and libraries": "#57606a",
    "gaps": "#afb8c1",
}


def stacked_bars(bars: dict[str, dict[str, float]], room: float = 0.0, title: str = "") -> Picture:
    """One horizontal bar per entry (label -> component -> bytes); a red line at `room` bytes."""
    from matplotlib.figure import Figure

    largest = max(sum(parts.values()) for parts in bars.values())
    scale, unit = (1e9, "GB") if largest > 1e9 else (1e6, "MB")
    figure = Figure(figsize=(9, 1.4 + 0.55 * len(bars)))
    axes = figure.subplots()
    shown, order = set(), {name: place for place, name in enumerate(COLOURS)}
    for row, parts in enumerate(bars.values()):
        left = 0.0
        for name, size in sorted(parts.items(), key=lambda part: order.get(part[0], len(order))):
            label = name if name not in shown and size > largest / 200 else None
            axes.barh(row, size / scale, left=left / scale, color=COLOURS.get(name, "#8c959f"), label=label)
            shown |= {name} if label else set()
            left += size
        axes.text(left / scale, row, f"  {left / scale:,.1f} {unit}", va="center")
    if room:
        axes.axvline(room / scale, color=RED, linestyle="--")
        axes.text(room / scale, -0.75, f" {room / scale:,.0f} {unit} card", color=RED, va="center")
    axes.set(yticks=range(len(bars)), yticklabels=list(bars), xlabel=unit, title=title)
    axes.set_xlim(0, 1.12 * max(largest, room) / scale)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
    figure.tight_layout()
    told = "; ".join(f"{label} {human_bytes(sum(parts.values()))}: {_told(parts)}" for label, parts in bars.items())
    return Picture(figure, f"{title or 'Memory'}. {told}" + (f". The card has {human_bytes(room)}" if room else ""))


def _told(parts: dict[str, float]) -> str:
    """The components in words, the largest first."""
    order = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {human_bytes(size)}" for name, size in order if size)


def as_bar(parts: list[Part]) -> dict[str, float]:
    """Parts as `stacked_bars` takes them."""
    return {part.name: part.bytes for part in parts}


def length_chart(config: RunConfig, shape: Shape, room: float = 0.0) -> Picture:
    """Memory by tokens per row for 1 to 8 rows, with checkpointing (full lines) and without (dotted)."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure, said = Figure(figsize=(9, 4)), []
    axes = figure.subplots()
    lengths = [2**i for i in range(6, 14)]
    for rows, colour in ((1, "#54aeff"), (2, "#0969da"), (4, "#8250df"), (8, "#bc4c00")):
        for checkpointing, line in ((True, "-"), (False, ":")):
            changed = replace(config, activation_checkpointing=checkpointing, per_device_train_batch_size=rows)
            sizes = [needed_by_sum(changed, shape, length=length) / 1e9 for length in lengths]
            axes.plot(lengths, sizes, line, color=colour, label=f"rows per step: {rows}" if checkpointing else None)
            kind = "with checkpointing" if checkpointing else "without"
            said.append(f"{rows} rows {kind} {sizes[0]:.3g} to {sizes[-1]:.3g} GB")
    if room:
        axes.axhline(room / 1e9, color=RED, linestyle="--")
        axes.text(lengths[0], room / 1e9, f"{room / 1e9:,.0f} GB card", color=RED, va="bottom")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(
        xticks=lengths,
        xticklabels=lengths,
        xlabel="tokens per row",
        ylabel="GB",
        title="full: checkpointing, dotted: none",
    )
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return Picture(figure, f"Memory at {lengths[0]} to {lengths[-1]} tokens per row: {', '.join(said)}")


def sliders(config: RunConfig, shape: Shape, room: float = 0.0) -> Playable:
    """Length, batch, rank and checkpointing to play with; the bar below follows. Without a live kernel, the bar alone."""
    import ipywidgets as widgets

    style = {"style": {"description_width": "120px"}, "continuous_update": False}
    powers = [2**i for i in range(5, 15)]
    controls = {
        "max_length": widgets.SelectionSlider(
            options=sorted({*powers, config.max_length}), value=config.max_length, description="tokens per row", **style
        ),
        "per_device_train_batch_size": widgets.IntSlider(
            config.per_device_train_batch_size, 1, 32, description="rows per step", **style
        ),
        "lora_r": widgets.SelectionSlider(
            options=sorted({2**i for i in range(1, 10)} | {config.lora_r}),
            value=config.lora_r,
            description="LoRA rank",
            **style,
        ),
        "activation_checkpointing": widgets.Checkbox(config.activation_checkpointing, description="checkpointing"),
        "load_in_4bit": widgets.Checkbox(config.load_in_4bit, description="4-bit base"),
    }

    def bar(changed: RunConfig) -> Picture:
        whole = f"with driver and gaps {human_bytes(needed_by_sum(changed, shape))}"
        return stacked_bars({"chosen": as_bar(step_parts(changed, shape))}, room, whole)

    shown = widgets.HTML()

    # drawn into the page of the widget: nothing has to capture the output of a callback
    def draw(change=None):
        chosen = {name: control.value for name, control in controls.items()}
        shown.value = bar(replace(config, **chosen))._repr_html_()

    for control in controls.values():
        control.observe(draw, "value")
    draw()
    return Playable(widgets.VBox([*controls.values(), shown]), bar(config))
