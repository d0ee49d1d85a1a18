"""What to change when a training does not fit, the cheapest change first. Imports in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from helpers.plan.need import Device, evaluation, needed_by_sum
from helpers.plan.obstacles import settings_that_work
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.train.packing import one_row_a_pass

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
    of several `cards` a model too large for one is split among them (`split_model`), and changed further if it must.
    `need(config, shape)` gives bytes: as `Device.need` plans them, or scaled to what the last attempt really took.
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
    while possible := candidates(current, checkpoints):
        steps.append(attempt(current, *possible[0]))
        if steps[-1].fits:
            return steps
        current = replace(current, **steps[-1].overrides)
    if cards == 1 or config.split_model:
        return steps
    split = replace(config, split_model=True)
    cost = _("nothing: no change makes it fit one card, so each of the {cards} takes some layers; one works at a time")
    size = need(split, shape)
    first = Change({"split_model": True}, cost.format(cards=cards), size, size <= room)
    return [first, *changes(split, shape, room, need, cards)]


def candidates(config: RunConfig, checkpoints: bool = True) -> list[tuple[dict, str]]:
    """Changes that save memory, from the one that costs least; each can come again until it has nothing left to give.

    `checkpoints`: whether the model's code can compute activations again.
    """
    batch, steps = config.per_device_train_batch_size, config.gradient_accumulation_steps
    half = {"per_device_train_batch_size": batch // 2, "gradient_accumulation_steps": steps * 2}
    shorter, smaller = {"max_length": config.max_length // 2}, {"lora_r": config.lora_r // 2}
    computed_again = checkpoints and not config.activation_checkpointing
    every = [
        (batch > 1, half, _("nothing but a little time: the step still learns from as many rows")),
        (computed_again, {"activation_checkpointing": True}, _("about half more time")),
        ("8bit" not in config.optim, {"optim": "paged_adamw_8bit"}, _("a slightly rougher optimizer")),
        (not config.load_in_4bit, {"load_in_4bit": True}, _("a base model that is slightly rougher")),
        (config.max_length > 128, shorter, _("longer conversations are cut: 03 counts how many")),
        (config.lora_r > 4, smaller, _("fewer numbers to learn with")),
    ]
    return [(overrides, cost) for saves, overrides, cost in every if saves]


def fitted(config: RunConfig, shape: Shape, device: Device) -> RunConfig:
    """`config` with the changes that make it fit `device`; as it is where it fits already, or where no change helps."""
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
    while rows and not fits(rows):
        rows //= 2
    return {} if rows in (0, config.per_device_eval_batch_size) else {"per_device_eval_batch_size": rows}
