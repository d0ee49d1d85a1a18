"""Tables of a plan: components, cards in green and red, moments, times."""

from __future__ import annotations

import html
from collections import defaultdict
from dataclasses import dataclass

from helpers.files import read_jsonl
from helpers.plan.cards import GPUS, prices
from helpers.plan.fit import Fit
from helpers.plan.memory import Part, total
from helpers.plan.moments import Moment
from helpers.plan.need import Device, step
from helpers.plan.shape import Shape
from helpers.plan.time import Speed, hours, said, speed, training_tokens
from helpers.settings import RunConfig
from helpers.show.tables import GREEN, RED, Table
from helpers.show.units import human_bytes, human_time


def parts_table(parts: list[Part], caption: str = "") -> Table:
    """Components with their bytes, their share and what is counted."""
    whole = total(parts)
    rows = [
        {"component": p.name, "size": human_bytes(p.bytes), "share": f"{p.bytes / whole:.0%}", "what is counted": p.why}
        for p in parts
    ]
    return Table(
        [*rows, {"component": "together", "size": human_bytes(whole), "share": "", "what is counted": ""}], caption
    )


@dataclass(frozen=True)
class FitTable:
    """Cards by settings; each cell is the headroom in GB, green where the training fits and red where it does not."""

    fits: list[Fit]
    caption: str = ""

    def _grid(self) -> tuple[list[str], dict[str, list[Fit]]]:
        grid = defaultdict(list)
        for fit in self.fits:
            grid[fit.card].append(fit)
        return [fit.settings for fit in next(iter(grid.values()))], grid

    def _repr_html_(self) -> str:
        names, grid = self._grid()
        cell = "padding:4px 14px;text-align:right"
        head = "".join(f'<th style="{cell}">{html.escape(name)}</th>' for name in ["card", *names])
        needs = "".join(f'<td style="{cell}">{f.needed / 1e9:,.1f} GB</td>' for f in next(iter(grid.values())))
        body = f'<tr><td style="{cell}"><i>needs</i></td>{needs}</tr>'
        for card, row in grid.items():
            cells = "".join(
                f'<td style="{cell};color:white;background:{GREEN if f.headroom >= 0 else RED}">{f.headroom / 1e9:+,.1f} GB</td>'
                for f in row
            )
            body += f'<tr><td style="{cell}">{html.escape(card)}</td>{cells}</tr>'
        told = f'<div style="padding:4px 14px">{html.escape(self.caption)}</div>' if self.caption else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'{told}<div style="overflow-x:auto">{table}</div>'

    def __repr__(self) -> str:
        names, grid = self._grid()
        rows = [
            {"card": c, **{n: f"{f.headroom / 1e9:+.1f}" for n, f in zip(names, r, strict=True)}}
            for c, r in grid.items()
        ]
        return repr(Table(rows, f"Headroom in GB{': ' + self.caption if self.caption else ''}"))


def time_table(config: RunConfig, shape: Shape, lengths: list[int], own: Speed | None = None) -> Table:
    """Time for conversations of `lengths` tokens, and the cost where `prices` knows it: your own speed first, then by card.

    Cards without a published number that helps are left out.
    """
    price = prices(config)
    paces = {"measured": own} | {card.name: speed(card, config, shape) for card in GPUS}
    tokens = {padded: training_tokens(config, lengths, padded) for padded in (True, False)}
    rows = []
    for name, pace in paces.items():
        if not pace:
            continue
        row = {"card": name, "time": said(tokens[pace.padded], pace)}
        if price:
            asked = price.get(config.gpu if name == "measured" else name)
            low, high = hours(tokens[pace.padded], pace)
            row |= {
                "an hour": f"{asked:.2f}" if asked else "",
                "together": f"{low * asked:.2f} to {high * asked:.2f}" if asked else "",
            }
        rows.append({**row, "basis": pace.basis})
    told = f"{tokens[True]:,} tokens to compute, of which {tokens[True] - tokens[False]:,} are padding."
    return Table(rows, told if rows else f"{told} The rehearsal measures how long that takes here.")


def moments_table(found: list[Moment], card: Device) -> Table:
    """Every moment with its bytes on the device and in the machine's own memory, and whether the device holds it."""
    rows = []
    for moment in found:
        on_device = human_bytes(moment.device) if moment.device else ""
        row = {"moment": moment.name, "notebook": moment.where, card.name: on_device, "fits": moment.fits(card.room)}
        if card.gpu:
            row["machine's memory"] = human_bytes(moment.ram) if moment.ram else ""
        rows.append({**row, "what is counted": moment.why})
    return Table(rows, f"{card.name} has {human_bytes(card.room)}")


def run_table(rehearsal, config: RunConfig) -> Table:
    """The real run at the rehearsal's speed: hours, and the cost where the price of this machine is known."""
    rows = []
    for part, time in rehearsal.hours(config).items():
        cost = {"cost": time * config.price_per_hour} if config.price_per_hour else {}
        rows.append({"part": part, "time": human_time(3600 * time), **cost})
    return Table(rows, "The real run at this speed")


def memory_numbers(config: RunConfig, shape: Shape, card: Device, rehearsal=None, run=None) -> Table:
    """All numbers about the training's memory side by side: what each holds, and on which device."""
    counted, rows = step(config, shape, card.gpu), []
    rows.append(("sum", counted.sum, card.name, "every term by hand, no allowances"))
    if counted.simulated is not None:
        rows.append(("simulation", counted.simulated, card.name, "the model's own code on fake tensors, no allowances"))
    held = (
        "driver, libraries and gaps" if card.gpu else "libraries, compiled kernels, and gaps that the C library keeps"
    )
    rows.append(
        ("with allowances", card.need(config, shape), card.name, f"the {counted.basis}, and {held}: fits are by this")
    )
    told = "what torch had allocated" if card.gpu else "all that the process held: libraries and this notebook too"
    if rehearsal:
        rows.append(("rehearsal", rehearsal.peak_memory_bytes, "here", f"three real steps; {told}"))
    done = (
        [row for row in read_jsonl(run.metrics) if "peak_memory_bytes" in row] if run and run.metrics.exists() else []
    )
    if done:
        rows.append(("measured in 04", done[-1]["peak_memory_bytes"], done[-1]["device"], "the whole training"))
    names = ("number", "memory", "device", "what it holds")
    return Table([dict(zip(names, (name, human_bytes(size), *rest), strict=True)) for name, size, *rest in rows])
