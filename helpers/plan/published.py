"""Memory that others measured on a single card (published.json), beside the plan for their settings.

Like is held against like: litgpt's finetune/lora.py prints torch.cuda.max_memory_allocated(), and torchtune, peft and
Answer.AI give torch's peaks as well. No driver is in these numbers, so none is added to the plan beside them.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import NamedTuple

from helpers.files import read_json
from helpers.model.shapes import SHAPES
from helpers.plan.memory import step_parts
from helpers.plan.need import CONTEXT, with_allowances
from helpers.plan.parts import total
from helpers.plan.shape import Shape
from helpers.settings import PRESETS, RunConfig
from helpers.show.words import _

AT_WORK = ("the layer at work", "unpacked weight", "loss")  # of a step's parts those that are not there all the time
TRAINED = ("adapter", "gradients", "optimizer state")


class Program(NamedTuple):
    """Who measured, with which settings of ours, and what that program does otherwise."""

    source: str
    settings: dict
    difference: str
    logits: float = 14.0  # bytes per word and position: copies of all logits; 0 = the loss comes in tiles
    buffers: float = 0.0  # bytes of buffers that its own configuration file asks for
    short: bool = False  # True: the adapter beside a 4-bit base is in bfloat16, half of ours
    inputs: bool = False  # True: the input of every 4-bit map is kept, as bitsandbytes before 0.43 did
    driver: bool = True  # False: the number is torch's own (allocated or reserved), which counts no driver


class Published(NamedTuple):
    """One number in bytes: a model of `MODELS`, rows x tokens, and whose program it was, of `PROGRAMS`."""

    program: str
    what: str
    bytes: float
    model: str
    rows: int
    length: int
    four_bit: bool


DATA = read_json(Path(__file__).with_name("published.json"))
MODELS = {name: SHAPES[size] if isinstance(size, str) else size for name, size in DATA["models"].items()}
PROGRAMS = {name: Program(**program) for name, program in DATA["programs"].items()}
PUBLISHED = tuple(Published(**row) for row in DATA["rows"])


def planned(row: Published) -> float:
    """Bytes that the sum gives for the settings of `row`, with what that program keeps more or less, no allowances."""
    shape, program = Shape.of(MODELS[row.model]), PROGRAMS[row.program]
    own = {"per_device_train_batch_size": row.rows, "max_length": row.length, "load_in_4bit": row.four_bit}
    config = RunConfig(**{**PRESETS["llama2-7b"], **program.settings, **own})  # whatever the environment says
    parts, tokens = step_parts(config, shape), row.rows * row.length
    size = total(parts)
    if program.logits:  # at the loss the activations are kept, and no layer is at work
        at_loss = (program.logits * shape.vocabulary + (2 + 4) * shape.hidden) * tokens
        size = max(size, at_loss + total(part for part in parts if part.name not in AT_WORK))
    if program.inputs and row.four_bit and (counted := shape.counted()):
        size += tokens * sum(2 * m.inputs * m.count for m in counted.maps if m.packed)
    if program.short and row.four_bit:
        size -= total(part for part in parts if part.name in TRAINED) / 2
    return size + program.buffers


def allowed(row: Published) -> float:
    """`planned` with the allowances: the gaps always, the driver where the published number has it in it."""
    return with_allowances(planned(row)) - (0 if PROGRAMS[row.program].driver else CONTEXT)


def off(row: Published) -> float:
    """Planned with allowances / published - 1: below 0 the plan promises too little memory."""
    return allowed(row) / row.bytes - 1


def summary() -> str:
    """How far the plan is off over all rows, in two sentences."""
    plain = statistics.median(abs(planned(row) / row.bytes - 1) for row in PUBLISHED)
    errors = [off(row) for row in PUBLISHED]
    least, most, middle = (f"{error:+.0%}" for error in (min(errors), max(errors), statistics.median(errors)))
    sentence = _(
        "{rows} rows. The sum alone is off by {plain} in the median; with the allowances the plan is between {least} "
        "(too little) and {most} (too much), {middle} in the median."
    )
    return sentence.format(rows=len(errors), plain=f"{plain:.0%}", least=least, most=most, middle=middle)


def comparison() -> list[dict]:
    """One row per number, sorted by error: published, planned with allowances, how far off, why, source."""
    return [
        {
            "published": f"{row.model} {row.what}, {row.rows} x {row.length}",
            "GB": f"{row.bytes / 1e9:.1f}",
            "planned GB": f"{allowed(row) / 1e9:.1f}",
            "off": f"{off(row):+.0%}",
            "what is different there": _(PROGRAMS[row.program].difference),
            "source": PROGRAMS[row.program].source,
        }
        for row in sorted(PUBLISHED, key=off)
    ]
