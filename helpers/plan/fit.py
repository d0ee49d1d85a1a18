"""Does it fit the card? In words, before a training and after it ran out of memory. Imports in milliseconds."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import NamedTuple

import psutil

from helpers.model.shapes import model_config
from helpers.plan.cards import Gpu
from helpers.plan.changes import all_overrides, changes, fewer_evaluated
from helpers.plan.need import Device, device, needed
from helpers.plan.obstacles import named
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import _

FILLED = 0.85  # of a device: a training that got so far was not short of memory because of others
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory")
REFUSED = re.compile(r"ried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)")
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def advice(config: RunConfig, shape: Shape, device: Device, held: float = 0.0, asked: float = 0.0) -> str:
    """What to do when a training does not fit `device`, in plain text: the settings to change, with the numbers.

    After an out-of-memory error: `held` bytes were allocated, and `asked` bytes more were refused. The plan is scaled
    up where it had promised less, and the changes must fit into what was really there.
    """
    predicted, wanted = device.need(config, shape), held + asked
    factor = max(wanted / predicted, 1.0)
    plan = _("The plan counts {need}; {device} has {room}.")
    lines = [plan.format(need=human_bytes(predicted), device=device.name, room=human_bytes(device.room))]
    if wanted:
        lines += failure(held, asked, factor, device)
    if wanted >= FILLED * device.room:
        device = device._replace(room=min(device.room, held))
    steps = changes(config, shape, device.room, lambda c, s: device.need(c, s) * factor, device.cards)
    if steps and not steps[-1].fits:
        return "\n".join([*lines, _("No change of settings makes it fit: take a smaller model or a larger card.")])
    for step in steps:
        line = _("- {settings}: {cost}; then {need}")
        lines.append(line.format(settings=named(step.overrides), cost=step.cost, need=human_bytes(step.needed)))
    overrides = all_overrides(steps)
    if fewer := fewer_evaluated(replace(config, **overrides), shape, device):
        line = _("- {settings}: nothing: the same held-out rows are measured, fewer at once")
        lines.append(line.format(settings=named(fewer)))
    overrides |= fewer
    lines.append(f"OVERRIDES = {overrides}" if overrides else _("By the plan it fits as it is."))
    return "\n".join(lines)


def failure(held: float, asked: float, factor: float, device: Device) -> list[str]:
    """What a training that ran out of memory had, in sentences."""
    step = _("The step held {held} and asked for {asked} more.")
    if factor > 1:
        step = _("The step held {held} and asked for {asked} more, so the plan is scaled up by {factor}.")
    lines = [step.format(held=human_bytes(held), asked=human_bytes(asked), factor=f"{factor:.2f}")]
    if held + asked < FILLED * device.room:
        others = _(
            "The rest is used by something else, or kept from this process: look at nvidia-smi or free, end what is "
            "not needed, and restart the kernel."
        )
        lines.append(others)
    return lines


@contextlib.contextmanager
def out_of_memory_advice(config: RunConfig):
    """Put it round a training: an out-of-memory error becomes a MemoryError that says what to change, with the numbers.

    They are those of the failure: on a GPU the most that torch had allocated, on a CPU what this process held, and what
    was refused. (A CPU seldom gives an error at all: Linux ends a process that takes too much.)
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        if not OUT_OF_MEMORY.search(str(error)):
            raise
        here = device(replace(config, gpu=""))  # not the card that was planned for
        held = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _resident()
        size = REFUSED.search(str(error))
        asked = float(size[1]) * UNITS[size[2]] if size else 0.0
        text = advice(config, Shape.of(model_config(config)), here, held, asked)
        if "OVERRIDES" in text:
            text += "\n" + _("Restart the kernel, set this in the parameters cell of 03, and go on from there.")
        raise MemoryError(text) from error


def _resident() -> int:
    """Bytes that this process holds, without pages of files, which the system can drop."""
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


class Fit(NamedTuple):
    """One card with one set of settings: bytes needed and bytes there."""

    card: str
    settings: str
    needed: float
    room: float

    @property
    def headroom(self) -> float:
        return self.room - self.needed


def fits(config: RunConfig, shape: Shape, cards: tuple[Gpu, ...]) -> list[Fit]:
    """Every card with the settings as they are, and with the usual variants of them."""
    other = "no checkpointing" if config.activation_checkpointing else "checkpointing"
    variants = {
        "as set": {},
        "batch 1": {"per_device_train_batch_size": 1},
        other: {"activation_checkpointing": not config.activation_checkpointing},
        "16-bit base": {"load_in_4bit": False},
    }
    sizes = {name: needed(replace(config, **changed), shape) for name, changed in variants.items()}
    return [Fit(card.name, name, size, card.gigabytes * 1e9) for card in cards for name, size in sizes.items()]
