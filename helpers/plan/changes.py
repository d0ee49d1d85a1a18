"""What to change when a training does not fit, the cheapest change first. Imports in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from helpers.plan.need import Device, evaluation, needed_by_sum
from helpers.plan.obstacles import settings_that_work
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.words import _

NEAR = 1.2  # of the room: a change that the sum leaves farther from fitting is not simulated


class Change(NamedTuple):
    """One change of settings, what it costs, and the bytes needed after it and all changes before it."""

    overrides: dict
    cost: str
    needed: float
    fits: bool


def changes(config: RunConfig, shape: Shape, room: float, need: Callable, cards: int = 1) -> list[Change]:
    """Changes that make the training fit `room` bytes, cheapest first; empty when it fits as it is.

    A single change that is enough comes alone; else they add up, and the last one fits unless nothing helps. On a pod
    of several `cards` a model that is too large for one is split among them (`split_model`), and changed further if it
    must. `need(config, shape)` gives bytes: as `Device.need` plans them, or scaled to what the last attempt really
    took.
    """
    before = need(config, shape)
    if before <= room:
        return []
    scale = before / needed_by_sum(config, shape)

    def attempt(config: RunConfig, overrides: dict, cost: str) -> Change:
        """By the sum, scaled; counted where that says that it may fit."""
        changed = replace(config, **overrides)
        size = scale * needed_by_sum(changed, shape)
        if size <= NEAR * room:
            size = need(changed, shape)
        return Change(overrides, cost, size, size <= room)

    counted = shape.counted()
    checkpoints = counted is None or counted.checkpoints
    for overrides, cost in candidates(config, checkpoints):
        alone = attempt(config, overrides, cost)
        if alone.fits:
            return [alone]
    steps, current = [], config
    while candidate := next(candidates(current, checkpoints), None):
        steps.append(attempt(current, *candidate))
        if steps[-1].fits:
            return steps
        current = replace(current, **steps[-1].overrides)
    if cards == 1 or config.split_model:
        return steps
    return split(config, shape, room, need, cards)


def split(config: RunConfig, shape: Shape, room: float, need: Callable, cards: int) -> list[Change]:
    """The layers go over `cards`, and what that needs is changed further if it must."""
    config = replace(config, split_model=True)
    cost = _(
        "nothing: no change makes it fit one card, so each of the {cards} takes a part of the layers; one works at a "
        "time"
    )
    size = need(config, shape)
    first = Change({"split_model": True}, cost.format(cards=cards), size, size <= room)
    return [first, *changes(config, shape, room, need, cards)]


def candidates(config: RunConfig, checkpoints: bool = True) -> Iterator[tuple[dict, str]]:
    """Changes that save memory, from the one that costs least; each can come again until it has nothing left to give.

    `checkpoints`: whether the model's code can compute activations again.
    """
    batch, steps = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if batch > 1:
        half = {"per_device_train_batch_size": batch // 2, "gradient_accumulation_steps": steps * 2}
        yield half, _("nothing but a little time: the step still learns from as many rows")
    if checkpoints and not config.activation_checkpointing:
        yield {"activation_checkpointing": True}, _("about half more time")
    if "8bit" not in config.optim:
        yield {"optim": "paged_adamw_8bit"}, _("a slightly rougher optimizer")
    if not config.load_in_4bit:
        yield {"load_in_4bit": True}, _("a base model that is slightly rougher")
    if config.max_length > 128:
        yield {"max_length": config.max_length // 2}, _("longer conversations are cut: 03 counts how many")
    if config.lora_r > 4:
        yield {"lora_r": config.lora_r // 2}, _("fewer numbers to learn with")


def fitted(config: RunConfig, shape: Shape, device: Device) -> RunConfig:
    """`config` with the changes that make it fit `device`; as it is where it fits already, or where no change helps."""
    from helpers.train.packing import one_row_a_pass

    if not shape.doubt:  # it asks the library about the model
        config = one_row_a_pass(config)
    config = replace(config, **settings_that_work(config, shape))
    steps = changes(config, shape, device.room, device.need, device.cards)
    if steps and steps[-1].fits:
        config = replace(config, **all_overrides(steps))
    return replace(config, **fewer_evaluated(config, shape, device))


def all_overrides(steps: list[Change]) -> dict:
    """The settings after all of `steps`."""
    return {name: value for step in steps for name, value in step.overrides.items()}


def fewer_evaluated(config: RunConfig, shape: Shape, device: Device) -> dict:
    """As many held-out rows at once as fit `device` beside what the training keeps, where that helps; else nothing.

    The rows are the same, and so is what is measured: only the time changes.
    """

    def fits(rows: int) -> bool:
        fewer = replace(config, per_device_eval_batch_size=rows)
        return device.forward_need(evaluation(fewer, shape, device)) <= device.room

    rows = config.per_device_eval_batch_size
    if fits(rows):
        return {}
    while rows > 1:
        rows //= 2
        if fits(rows):
            return {"per_device_eval_batch_size": rows}
    return {}
