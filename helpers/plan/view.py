"""Tables of a plan: components, cards in green and red, phases, times."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from helpers.files import read_jsonl
from helpers.plan.cards import GPUS, prices
from helpers.plan.fit import Fit
from helpers.plan.need import Device, step
from helpers.plan.obstacles import obstacles
from helpers.plan.parts import Part, total
from helpers.plan.phases import Phase, disk_parts
from helpers.plan.shape import Shape
from helpers.plan.time import Speed, duration, hours, speed, training_tokens
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import Judged, Table
from helpers.show.units import human_bytes, human_time
from helpers.show.words import _

if TYPE_CHECKING:
    from helpers.plan.rehearsal import Rehearsal


def in_the_way(config: RunConfig, shape: Shape) -> str:
    """What stands between this plan and a training, or that nothing does."""
    return "\n".join(obstacles(config, shape)) or _("Nothing in this model stands in the way of an adapter.")


def parts_table(parts: list[Part], caption: str = "") -> Table:
    """Components with their bytes, their share and what is counted."""
    whole = total(parts)
    shares = [f"{p.bytes / whole:.0%}" if 200 * p.bytes >= whole else "<1%" for p in parts]
    cells = [(_(p.name), human_bytes(p.bytes), share, p.why) for p, share in zip(parts, shares, strict=True)]
    cells.append((_("together"), human_bytes(whole), "", ""))
    return _table("component, size, share, what is counted", cells, caption)


def _table(names: str, rows: list[tuple], caption: str = "") -> Table:
    return Table([dict(zip(names.split(", "), row, strict=True)) for row in rows], caption)


def fit_table(fits: list[Fit], caption: str = "") -> Table:
    """Cards by settings; each cell is the headroom in GB, green where the training fits and red where it does not."""
    cards = {card: list(row) for card, row in groupby(fits, key=lambda fit: fit.card)}
    rows: list[dict] = [{"card": _("needs")} | {fit.settings: f"{fit.needed / 1e9:,.1f} GB" for fit in fits}]
    for card, row in cards.items():
        rooms = {fit.settings: Judged(f"{fit.headroom / 1e9:+,.1f} GB", fit.headroom >= 0) for fit in row}
        rows.append({"card": card} | rooms)
    what = _("Headroom in GB")
    return Table(rows, f"{what}: {caption}" if caption else what)


def time_table(config: RunConfig, shape: Shape, lengths: list[int], own: Speed | None = None) -> Table:
    """Time for conversations of `lengths` tokens, and the cost where `prices` knows it: first your own speed, if any.

    A price is of one card: a pod of several (`config.gpus`) costs as many times as much, while 04 trains on one at a
    time. Cards without a published number that helps are left out.
    """
    price, cards = prices(config), config.gpus or 1
    tokens = {padded: training_tokens(config, lengths, padded) for padded in (True, False)}
    rows = []
    for name, pace in [(config.gpu, own), *((card.name, speed(card, config, shape)) for card in GPUS)]:
        if pace is None:
            continue
        row = {"card": _("measured") if pace is own else name, "time": duration(tokens[pace.padded], pace)}
        if price:
            row |= _cost(cards * price.get(name, 0), hours(tokens[pace.padded], pace))
        rows.append({**row, "basis": pace.basis})
    caption = _("{tokens} tokens to compute, of which {padding} are padding.")
    caption = caption.format(tokens=f"{tokens[True]:,}", padding=f"{tokens[True] - tokens[False]:,}")
    if price and cards > 1:
        caption += " " + _("Costs are those of {cards} cards.").format(cards=cards)
    if not rows:
        caption += " " + _("The rehearsal measures how long that takes here.")
    return Table(rows, caption)


def _cost(an_hour: float, hours: tuple[float, float]) -> dict[str, str]:
    """The cells of a price; empty where it is not known."""
    if not an_hour:
        return {"an hour": "", "together": ""}
    return {"an hour": f"{an_hour:.2f}", "together": f"{hours[0] * an_hour:.2f} to {hours[1] * an_hour:.2f}"}


def phases_table(phases: list[Phase], device: Device) -> Table:
    """Every phase with its bytes on the device and in the machine's own memory, and whether the device holds it."""
    rows = []
    for phase in phases:
        row: dict[str, str | bool] = {"phase": _(phase.name), "notebook": phase.where}
        row[device.name] = human_bytes(phase.device) if phase.device else ""
        row["fits"] = phase.device <= device.room
        if device.gpu:
            row["machine's memory"] = human_bytes(phase.ram) if phase.ram else ""
        rows.append({**row, "what is counted": phase.why})
    caption = _("{device} has {room}").format(device=device.name, room=human_bytes(device.room))
    return Table(rows, caption, foreign=(device.name,))


def disk_table(config: RunConfig, shape: Shape) -> Table:
    """What the whole series writes to the disk."""
    return parts_table(disk_parts(config, shape), _("On the disk"))


def run_table(rehearsal: Rehearsal, config: RunConfig) -> Table:
    """The real run at the rehearsal's speed: hours, and the cost of all cards where the price of one is known."""
    price, rows = config.price_per_hour * (config.gpus or 1), []
    for part, time in rehearsal.hours(config).items():
        rows.append({"part": _(part), "time": human_time(3600 * time)} | ({"cost": time * price} if price else {}))
    return Table(rows, _("The real run at this speed"))


def memory_numbers(
    config: RunConfig, shape: Shape, device: Device, rehearsal: Rehearsal | None = None, run: RunDir | None = None
) -> Table:
    """All numbers about the training's memory side by side: what each holds, and on which device."""
    counted, name = step(config, shape, device.gpu), device.name
    held = _("fits are by this: with libraries, compiled kernels, and gaps that the C library keeps")
    real = _("three real steps; all that the process held: libraries and this notebook too")
    if device.gpu:
        held = _("fits are by this: with driver, libraries and gaps")
        real = _("three real steps; what torch had allocated")
    rows = [
        (_("sum"), counted.sum, name, _("every term by hand, no allowances")),
        (_("simulation"), counted.simulated, name, _("the model's own code on fake tensors, no allowances")),
        (_("with allowances"), device.need(config, shape), name, held),
        (_("rehearsal"), rehearsal and rehearsal.peak_memory_bytes, _("here"), real),
    ]
    logs = read_jsonl(run.metrics) if run and run.metrics.exists() else []
    for row in [row for row in logs if "peak_memory_bytes" in row][-1:]:
        rows.append((_("measured in 04"), row["peak_memory_bytes"], row["device"], _("the whole training")))
    cells = [(number, human_bytes(size), *rest) for number, size, *rest in rows if size is not None]
    return _table("number, memory, device, what it holds", cells)
