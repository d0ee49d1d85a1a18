"""Tables of a plan: components, cards in green and red, phases, times."""

from __future__ import annotations

import html
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from helpers.files import read_jsonl
from helpers.plan.cards import GPUS, prices
from helpers.plan.fit import Fit
from helpers.plan.memory import Part, total
from helpers.plan.need import Device, obstacles, step
from helpers.plan.phases import Phase, disk_parts
from helpers.plan.shape import Shape
from helpers.plan.time import Speed, duration, hours, speed, training_tokens
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import GREEN, RED, Table
from helpers.show.units import human_bytes, human_time
from helpers.show.words import N_, _, heading

if TYPE_CHECKING:
    from helpers.plan.rehearsal import Rehearsal

CELL = "padding:4px 14px;text-align:right"


def in_the_way(config: RunConfig, shape: Shape) -> str:
    """What stands between this plan and a training, or that nothing does."""
    nothing = _("Nothing in this model stands in the way of an adapter.")
    return "\n".join(obstacles(config, shape)) or nothing


def parts_table(parts: list[Part], caption: str = "") -> Table:
    """Components with their bytes, their share and what is counted."""
    whole = total(parts)
    shown = [(_(part.name), part.bytes, f"{part.bytes / whole:.0%}", part.why) for part in parts]
    names = ("component", "size", "share", "what is counted")
    rows = [(name, human_bytes(size), *rest) for name, size, *rest in [*shown, (_("together"), whole, "", "")]]
    return Table([dict(zip(names, row, strict=True)) for row in rows], caption)


@dataclass(frozen=True)
class FitTable:
    """Cards by settings; each cell is the headroom in GB, green where the training fits and red where it does not."""

    fits: list[Fit]
    caption: str = ""

    def _cards(self) -> list[list[Fit]]:
        """The fits of each card, in the order of the settings."""
        return [list(row) for _card, row in groupby(self.fits, key=lambda fit: fit.card)]

    def _repr_html_(self) -> str:
        cards = self._cards()
        names = ["card", *(fit.settings for fit in cards[0])]
        head = "".join(f'<th style="{CELL}">{html.escape(heading(name))}</th>' for name in names)
        needs, word = "".join(f'<td style="{CELL}">{fit.needed / 1e9:,.1f} GB</td>' for fit in cards[0]), _("needs")
        body = f'<tr><td style="{CELL}"><i>{html.escape(word)}</i></td>{needs}</tr>'
        for row in cards:
            colours = [(fit.headroom, GREEN if fit.headroom >= 0 else RED) for fit in row]
            cells = [f'<td style="{CELL};color:white;background:{c}">{h / 1e9:+,.1f} GB</td>' for h, c in colours]
            body += f'<tr><td style="{CELL}">{html.escape(row[0].card)}</td>{"".join(cells)}</tr>'
        above = f'<div style="padding:4px 14px">{html.escape(self.caption)}</div>' if self.caption else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'{above}<div style="overflow-x:auto">{table}</div>'

    def __repr__(self) -> str:
        rows = [
            {"card": row[0].card} | {fit.settings: f"{fit.headroom / 1e9:+.1f}" for fit in row} for row in self._cards()
        ]
        return repr(Table(rows, ": ".join(filter(None, (_("Headroom in GB"), self.caption)))))


def time_table(config: RunConfig, shape: Shape, lengths: list[int], own: Speed | None = None) -> Table:
    """Time for conversations of `lengths` tokens, and the cost where `prices` knows it: your own speed first, then by card.

    A price is of one card: a pod of several (`config.gpus`) costs as many times as much, while 04 trains on one at a time.
    Cards without a published number that helps are left out.
    """
    price, cards = prices(config), config.gpus or 1
    paces = [(config.gpu, own), *((card.name, speed(card, config, shape)) for card in GPUS)]
    tokens = {padded: training_tokens(config, lengths, padded) for padded in (True, False)}
    rows = []
    for name, pace in paces:
        if not pace:
            continue
        row = {"card": _("measured") if pace is own else name, "time": duration(tokens[pace.padded], pace)}
        if price:
            each = price.get(name, 0) * cards
            low, high = hours(tokens[pace.padded], pace)
            row["an hour"] = f"{each:.2f}" if each else ""
            row["together"] = f"{low * each:.2f} to {high * each:.2f}" if each else ""
        rows.append({**row, "basis": pace.basis})
    told = _("{tokens} tokens to compute, of which {padding} are padding.")
    told = told.format(tokens=f"{tokens[True]:,}", padding=f"{tokens[True] - tokens[False]:,}")
    if price and cards > 1:
        told += " " + _("Costs are those of {cards} cards.").format(cards=cards)
    if not rows:
        told += " " + _("The rehearsal measures how long that takes here.")
    return Table(rows, told)


def phases_table(found: list[Phase], device: Device) -> Table:
    """Every phase with its bytes on the device and in the machine's own memory, and whether the device holds it."""
    rows = []
    for phase in found:
        row = {"phase": _(phase.name), "notebook": phase.where}
        row[device.name] = human_bytes(phase.device) if phase.device else ""
        row["fits"] = phase.fits(device.room)
        if device.gpu:
            row["machine's memory"] = human_bytes(phase.ram) if phase.ram else ""
        rows.append({**row, "what is counted": phase.why})
    told = _("{device} has {room}").format(device=device.name, room=human_bytes(device.room))
    return Table(rows, told, foreign=(device.name,))


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
    counted = step(config, shape, device.gpu)
    rows = [(N_("sum"), counted.sum, device.name, _("every term by hand, no allowances"))]
    if counted.simulated is not None:
        why = _("the model's own code on fake tensors, no allowances")
        rows.append((N_("simulation"), counted.simulated, device.name, why))
    held = _("fits are by this: with libraries, compiled kernels, and gaps that the C library keeps")
    if device.gpu:
        held = _("fits are by this: with driver, libraries and gaps")
    rows.append((N_("with allowances"), device.need(config, shape), device.name, held))
    if rehearsal:
        why = _("three real steps; all that the process held: libraries and this notebook too")
        why = _("three real steps; what torch had allocated") if device.gpu else why
        rows.append((N_("rehearsal"), rehearsal.peak_memory_bytes, _("here"), why))
    logs = read_jsonl(run.metrics) if run and run.metrics.exists() else []
    for row in [row for row in logs if "peak_memory_bytes" in row][-1:]:
        rows.append((N_("measured in 04"), row["peak_memory_bytes"], row["device"], _("the whole training")))
    names = ("number", "memory", "device", "what it holds")
    return Table([dict(zip(names, (_(name), human_bytes(size), *rest), strict=True)) for name, size, *rest in rows])
