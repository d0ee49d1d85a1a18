"""Does it fit the card, and if not: what to change, the cheapest change first. Imports in milliseconds."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from helpers.config import RunConfig
from helpers.plan.memory import LIBRARIES, Part, Shape, step_parts, total
from helpers.plan.time import gpu
from helpers.report import human_bytes

# Allowances of a GPU, neither computed nor measured here. A card's GB are counted as 10^9 bytes: on the safe side.
CONTEXT = 600_000_000  # bytes that driver and libraries take before the first tensor
SLACK = 0.05  # share lost in the gaps between tensors
# On a CPU, oneDNN keeps the kernels it compiles for every length, and the C library the gaps that tensors leave. Measured: the
# demo's training (1.8 GB by the sum) held 4.2 GB at most (2026-11-24, 2-core AMD EPYC CPU, last row of its metrics.jsonl).
KEPT = 2.1
FILLED = 0.85  # of a device: a training that got so far was not short of memory because of others


def allowances(parts: list[Part]) -> list[Part]:
    """What a GPU needs beside the `parts` of a step."""
    return [
        Part("driver and libraries", CONTEXT, "an allowance, not computed: the CUDA context, before the first tensor"),
        Part("gaps", SLACK * total(parts), f"an allowance, not computed: {SLACK:.0%} lost between tensors"),
    ]


def needed(config: RunConfig, shape: Shape, batch: int = 0, length: int = 0) -> float:
    """Bytes of GPU memory for training, allowances included."""
    parts = step_parts(config, shape, batch, length)
    return total([*parts, *allowances(parts)])


def needed_on_cpu(config: RunConfig, shape: Shape) -> float:
    """Bytes of this machine's memory for training without a GPU, every token labelled, with `KEPT` and the libraries."""
    return total(step_parts(config, shape, gpu=False)) * KEPT + LIBRARIES


class Device(NamedTuple):
    """What a training runs on: its memory in bytes, and the function (config, shape) that counts the bytes needed there."""

    name: str
    room: float
    need: Callable


def device(config: RunConfig) -> Device:
    """The card that config.gpu names, else the GPU that is here, else this machine's own memory.

    Raises ValueError for a card that is not in the list.
    """
    import torch

    if config.gpu:
        return Device(config.gpu, gpu(config.gpu).gigabytes * 1e9, needed)
    if torch.cuda.is_available():  # not run on a GPU yet
        return Device(torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory, needed)
    return Device("this machine", _memory_of_this_machine(), needed_on_cpu)


def _memory_of_this_machine() -> int:
    """Bytes of memory, or less where a container is allowed less."""
    import psutil

    files = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    limits = [path.read_text().strip() for path in files if path.exists()]
    return min([psutil.virtual_memory().total, *(int(limit) for limit in limits if limit.isdigit())])


@dataclass(frozen=True)
class Change:
    """One change of settings, what it costs, and the bytes needed after it and all changes before it."""

    overrides: dict
    cost: str
    needed: float
    fits: bool


def changes(config: RunConfig, shape: Shape, room: float, need: Callable = needed) -> list[Change]:
    """Changes that make the training fit `room` bytes, cheapest first; empty when it fits as it is.

    A single change that is enough comes alone; else they add up, and the last one fits unless nothing helps.
    `need(config, shape)` gives bytes: the closed form, or what the last attempt really took.
    """
    if need(config, shape) <= room:
        return []
    for overrides, cost in candidates(config):
        after = need(replace(config, **overrides), shape)
        if after <= room:
            return [Change(overrides, cost, after, True)]
    steps, current = [], config
    while step := next(candidates(current), None):
        overrides, cost = step
        current = replace(current, **overrides)
        after = need(current, shape)
        steps.append(Change(overrides, cost, after, after <= room))
        if after <= room:
            break
    return steps


def fitted(config: RunConfig, shape: Shape, device: Device) -> RunConfig:
    """`config` with the changes that make it fit `device`; as it is where it fits already, or where no change helps."""
    steps = changes(config, shape, device.room, device.need)
    return replace(config, **all_overrides(steps)) if steps and steps[-1].fits else config


def candidates(config: RunConfig) -> Iterator[tuple[dict, str]]:
    """Changes that save memory, from the one that costs least; each can come again until it has nothing left to give."""
    batch, steps = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if batch > 1:
        half = {"per_device_train_batch_size": batch // 2, "gradient_accumulation_steps": steps * 2}
        yield half, "nothing but a little time: the step still learns from as many rows"
    if not config.activation_checkpointing:
        yield {"activation_checkpointing": True}, "about a third more time"
    if "8bit" not in config.optim:
        yield {"optim": "paged_adamw_8bit"}, "a slightly rougher optimizer"
    if not config.load_in_4bit:
        yield {"load_in_4bit": True}, "a base model that is slightly rougher"
    if config.max_length > 128:
        yield {"max_length": config.max_length // 2}, "longer conversations are cut: 03 counts how many"
    if config.lora_r > 4:
        yield {"lora_r": config.lora_r // 2}, "fewer numbers to learn with"


def all_overrides(steps: list[Change]) -> dict:
    """The settings after all of `steps`."""
    return {name: value for step in steps for name, value in step.overrides.items()}


def advice(config: RunConfig, model_config: dict, device: Device, held: float = 0.0, asked: float = 0.0) -> str:
    """What to do when a training does not fit `device`, in plain text: the settings to change, with the numbers.

    After an out-of-memory error: `held` bytes were allocated, and `asked` bytes more were refused. The plan is scaled up
    where it had promised less, and the changes must fit into what was really there.
    """
    shape, room = Shape.of(model_config), device.room
    predicted, wanted = device.need(config, shape), held + asked
    factor = max(wanted / predicted, 1.0)
    lines = [f"The plan counts {human_bytes(predicted)}; {device.name} has {human_bytes(room)}."]
    if wanted:
        told = f", so the plan is scaled up by {factor:.2f}" if factor > 1 else ""
        lines.append(f"The step held {human_bytes(held)} and asked for {human_bytes(asked)} more{told}.")
    if 0 < wanted < FILLED * room:
        lines.append(
            "The rest is used by something else, or kept from this process: look at nvidia-smi or free, end what is not "
            "needed, and restart the kernel."
        )
    elif wanted:
        room = min(room, held)
    steps = changes(config, shape, room, lambda c, s: device.need(c, s) * factor)
    if not steps:
        lines.append("By the plan it fits as it is.")
    elif not steps[-1].fits:
        lines.append("No change of settings makes it fit: take a smaller model or a larger card.")
    else:
        lines += [f"- {named(step.overrides)}: {step.cost}; then {human_bytes(step.needed)}" for step in steps]
        lines.append(f"OVERRIDES = {all_overrides(steps)}")
    return "\n".join(lines)


def named(overrides: dict) -> str:
    """Settings as people write them: "max_length = 1024, lora_r = 8"."""
    return ", ".join(f"{name} = {value!r}" for name, value in overrides.items())


@contextlib.contextmanager
def out_of_memory_advice(config: RunConfig):
    """Put it round a training: an out-of-memory error becomes a MemoryError that says what to change, with the numbers.

    The numbers are those of the failure: on a GPU the most that torch had allocated, on a CPU what this process held
    (its resident memory less the pages of files); and what was refused. (A CPU seldom gives an error at all: Linux ends
    a process that takes too much, and the kernel dies.)
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        if not re.search(r"out of memory|can't allocate memory|not enough memory", str(error)):
            raise
        from helpers.model.shapes import model_config

        here = device(replace(config, gpu=""))  # not the card that was planned for
        held = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _resident()
        told = advice(config, model_config(config), here, held, _refused(str(error)))
        where = "Restart the kernel, set this in the parameters cell of 03, and go on from there."
        raise MemoryError(f"{told}\n{where}" if "OVERRIDES" in told else told) from error


def _resident() -> int:
    """Bytes that this process holds, without pages of files, which the system can drop."""
    import psutil

    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


def _refused(message: str) -> float:
    """Bytes that an out-of-memory error of torch says it could not get; 0 when it does not say."""
    units = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    found = re.search(r"ried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", message)
    return float(found[1]) * units[found[2]] if found else 0.0


@dataclass(frozen=True)
class Fit:
    """One card with one set of settings: bytes needed and bytes there."""

    card: str
    settings: str
    needed: float
    room: float

    @property
    def headroom(self) -> float:
        return self.room - self.needed


def fits(config: RunConfig, shape: Shape, cards) -> list[Fit]:
    """Every card with the settings as they are, and with the usual variants of them."""
    variants = {
        "as set": config,
        "batch 1": replace(config, per_device_train_batch_size=1),
        "no checkpointing": replace(config, activation_checkpointing=False),
        "checkpointing": replace(config, activation_checkpointing=True),
        "16-bit base": replace(config, load_in_4bit=False),
    }
    del variants["checkpointing" if config.activation_checkpointing else "no checkpointing"]
    return [
        Fit(card.name, name, needed(c, shape), card.gigabytes * 1e9) for card in cards for name, c in variants.items()
    ]
