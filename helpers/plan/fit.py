"""Does it fit the card, and if not: what to change, the cheapest change first. Imports in milliseconds."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from helpers.plan.need import Device, device, evaluating, named, needed, needed_by_sum, settings_that_work
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.units import human_bytes

NEAR = 1.2  # of the room: a change that the sum leaves farther from fitting is not simulated
FILLED = 0.85  # of a device: a training that got so far was not short of memory because of others


@dataclass(frozen=True)
class Change:
    """One change of settings, what it costs, and the bytes needed after it and all changes before it."""

    overrides: dict
    cost: str
    needed: float
    fits: bool


def changes(config: RunConfig, shape: Shape, room: float, need: Callable = needed, cards: int = 1) -> list[Change]:
    """Changes that make the training fit `room` bytes, cheapest first; empty when it fits as it is.

    A single change that is enough comes alone; else they add up, and the last one fits unless nothing helps. On a pod of
    several `cards` a model that is too large for one is split among them (`split_model`), and changed further if it must.
    `need(config, shape)` gives bytes: the closed form, or what the last attempt really took.
    """
    before = need(config, shape)
    if before <= room:
        return []
    scale = before / needed_by_sum(config, shape)

    def after_change(changed: RunConfig) -> float:
        """By the sum, scaled; counted where that says that it may fit."""
        quick = scale * needed_by_sum(changed, shape)
        return quick if quick > NEAR * room else need(changed, shape)

    found = shape.counted()
    checkpoints = found is None or found.checkpoints
    for overrides, cost in candidates(config, checkpoints):
        after = after_change(replace(config, **overrides))
        if after <= room:
            return [Change(overrides, cost, after, True)]
    steps, current = [], config
    while step := next(candidates(current, checkpoints), None):
        overrides, cost = step
        current = replace(current, **overrides)
        after = after_change(current)
        steps.append(Change(overrides, cost, after, after <= room))
        if after <= room:
            break
    if cards == 1 or config.split_model or (steps and steps[-1].fits):
        return steps
    split = replace(config, split_model=True)
    after = need(split, shape)
    cost = f"nothing: no change makes it fit one card, so each of the {cards} takes a part of the layers; one works at a time"
    return [Change({"split_model": True}, cost, after, after <= room), *changes(split, shape, room, need, cards)]


def fitted(config: RunConfig, shape: Shape, device: Device) -> RunConfig:
    """`config` with the changes that make it fit `device`; as it is where it fits already, or where no change helps."""
    config = replace(config, **row_by_row(config), **settings_that_work(config, shape))
    steps = changes(config, shape, device.room, device.need, device.cards)
    config = replace(config, **all_overrides(steps)) if steps and steps[-1].fits else config
    return replace(config, **fewer_evaluated(config, shape, device))


def fewer_evaluated(config: RunConfig, shape: Shape, device: Device) -> dict:
    """As many held-out rows at once as fit `device` beside what the training keeps, where that helps; else nothing.

    The rows are the same, and so is what is measured: only the time changes.
    """
    now = rows = config.per_device_eval_batch_size
    while rows > 1 and evaluating(replace(config, per_device_eval_batch_size=rows), shape, device) > device.room:
        rows //= 2
    fewer = {"per_device_eval_batch_size": rows}
    return fewer if rows < now and evaluating(replace(config, **fewer), shape, device) <= device.room else {}


def row_by_row(config: RunConfig) -> dict:
    """For packed rows without FlashAttention: one row at a time, and as many steps of accumulation; else nothing.

    Several packed rows would become a single one, with a dense mask of its length squared and attention over all of it;
    one by one the step learns the same from the same rows, in less memory and time.
    """
    rows = config.per_device_train_batch_size
    if not config.packing or rows == 1 or flash(config):
        return {}
    steps = rows * config.gradient_accumulation_steps
    return {"per_device_train_batch_size": 1, "gradient_accumulation_steps": steps}


def flash(config: RunConfig) -> bool:
    """Whether FlashAttention is what will run: asked for, or left to "auto" where it is installed."""
    if config.attn_implementation != "auto":
        return config.attn_implementation == "flash_attention_2"
    import importlib.util

    return importlib.util.find_spec("flash_attn") is not None


def candidates(config: RunConfig, checkpoints: bool = True) -> Iterator[tuple[dict, str]]:
    """Changes that save memory, from the one that costs least; each can come again until it has nothing left to give.

    `checkpoints`: whether the model's code can compute activations again.
    """
    batch, steps = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if batch > 1:
        half = {"per_device_train_batch_size": batch // 2, "gradient_accumulation_steps": steps * 2}
        yield half, "nothing but a little time: the step still learns from as many rows"
    if checkpoints and not config.activation_checkpointing:
        yield {"activation_checkpointing": True}, "about half more time"
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
    shape, room = model_config if isinstance(model_config, Shape) else Shape.of(model_config), device.room
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
    steps = changes(config, shape, room, lambda c, s: device.need(c, s) * factor, device.cards)
    if steps and not steps[-1].fits:
        return "\n".join([*lines, "No change of settings makes it fit: take a smaller model or a larger card."])
    overrides = all_overrides(steps)
    fewer = fewer_evaluated(replace(config, **overrides), shape, device._replace(room=room))
    lines += [f"- {named(step.overrides)}: {step.cost}; then {human_bytes(step.needed)}" for step in steps]
    if fewer:
        lines.append(f"- {named(fewer)}: nothing: the same held-out rows are measured, fewer at once")
    told = f"OVERRIDES = {overrides | fewer}" if overrides | fewer else "By the plan it fits as it is."
    return "\n".join([*lines, told])


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
    sizes = {name: needed(changed, shape) for name, changed in variants.items()}
    return [Fit(card.name, name, size, card.gigabytes * 1e9) for card in cards for name, size in sizes.items()]
