"""Does it fit the card, and if not: what to change, the cheapest change first. Imports in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from helpers.config import RunConfig
from helpers.planner import Shape, step_parts, total
from helpers.report import human_bytes

# Two allowances, not computed and not measured here. A card's GB are counted as 10^9 bytes, which is on the safe side.
CONTEXT = 600_000_000  # bytes that driver and libraries take before the first tensor
SLACK = 0.05  # share lost in the gaps between tensors


def needed(config: RunConfig, shape: Shape, batch: int = 0, length: int = 0) -> float:
    """Bytes of GPU memory for training, allowances included."""
    return total(step_parts(config, shape, batch, length)) * (1 + SLACK) + CONTEXT


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


def advice(config: RunConfig, model_config: dict | None = None, room: float = 0.0, took: float = 0.0) -> str:
    """What to do after an out-of-memory error, in plain text: the settings to change, with the numbers.

    `room` bytes: the card's memory (0: of the card that is here). `took` bytes: what the failed step had already
    allocated; the closed form is scaled up where it had promised less.
    """
    from helpers.shapes import model_config as find

    shape = Shape.of(model_config or find(config))
    room = room or _memory_here()
    predicted = needed(config, shape)
    factor = max(took / predicted, 1.0)
    steps = changes(config, shape, room, lambda c, s: needed(c, s) * factor)
    lines = [f"The plan counted {human_bytes(predicted)}; this device has {human_bytes(room)}."]
    if took > predicted:
        lines.append(f"The step had already taken {human_bytes(took)}, so the plan is scaled up by {factor:.2f}.")
    if not steps:
        lines.append(
            "By the plan it fits. Is another process using this device (nvidia-smi)? Restart the kernel first."
        )
        return "\n".join(lines)
    if not steps[-1].fits:
        lines.append("No change of settings makes it fit: take a smaller model or a larger card.")
        return "\n".join(lines)
    lines += [f"- {_named(step.overrides)}: {step.cost}; then {human_bytes(step.needed)}" for step in steps]
    return "\n".join([*lines, f"OVERRIDES = {all_overrides(steps)}"])


def _named(overrides: dict) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in overrides.items())


def _memory_here() -> float:
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory  # not run on a GPU yet
    return psutil.virtual_memory().total


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
