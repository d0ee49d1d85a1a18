"""Every phase of the run, not the training alone: what it needs on the GPU, in the machine's memory, on the disk."""

from __future__ import annotations

from typing import NamedTuple

from helpers.merge.folder import shard_bytes
from helpers.model.rows import cache_bytes, reply_bytes, rows_at_once, scoring_bytes
from helpers.plan import memory, parts
from helpers.plan.need import LIBRARIES, Device, evaluation
from helpers.plan.parts import Part
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import N_, _

ROWS = 8  # replies, or rows that are measured: so many at once in 05 and 06 where they fit


class Phase(NamedTuple):
    """One phase: where it happens, its bytes on the device that trains and in the machine's own memory, and why."""

    name: str
    where: str
    device: float
    ram: float
    why: str


def phases(config: RunConfig, shape: Shape, device: Device) -> list[Phase]:
    """The phases of notebooks 00 and 04 to 07 in order, on `device`; without a GPU all is the machine's memory."""
    trained, share = parts.adapter_parts(config, shape)[0].bytes, device.sharing(config)
    base = (parts.total(parts.weight_parts(config, shape, device.gpu)) + trained) / share
    reply, largest = per_reply(config, shape, device), 2 * 4 * shape.largest_map
    count = rows_that_fit(device, base, reply)
    training, held_out = device.need(config, shape), device.forward_need(evaluation(config, shape, device))
    reload, measuring = device.forward_need(base + 2 * reply), device.forward_need(base + count * reply)
    requantised = device.forward_need(base + largest)
    planned = [
        Phase(N_("rehearsal"), "00", training, 0, _("the training step on the longest rows")),
        Phase(N_("training"), "04", training, 0, _("the fullest point of a step")),
        Phase(N_("evaluation in training"), "04", held_out, 0, evaluated(config)),
        Phase(N_("reload and two replies"), "04", reload, 0, _("the trainer is let go before")),
        Phase(N_("measuring base and adapter"), "05, 06", measuring, 0, replies(config, shape, count)),
        Phase(N_("requantised merge"), "05", requantised, 0, _("one linear map at a time in 32 bits")),
        merge(config, shape, device.gpu),
        measuring_merged(config, shape, device),
        Phase(N_("GGUF"), "07", 0, LIBRARIES + largest, _("written weight by weight")),
    ]
    return planned if device.gpu else [p._replace(device=p.device or p.ram, ram=0) for p in planned]


def per_reply(config: RunConfig, shape: Shape, device: Device) -> float:
    """Bytes of one row while it is answered."""
    tokens = config.max_length + config.max_new_tokens
    return reply_bytes(text_settings(shape), tokens) * parts.number_bytes(config, device.gpu) / 2


def rows_that_fit(device: Device, held: float, per_row: float) -> int:
    """As 05 and 06 choose them, with the same function."""
    taken = device.forward_need(held) if device.gpu else held + LIBRARIES
    return rows_at_once(device.room - taken, per_row, ROWS)


def evaluated(config: RunConfig) -> str:
    """What an evaluation in training works on."""
    sentence = _("{rows} rows of at most {length} tokens; the optimizer stays")
    if config.packing and memory.mask_parts(config, 2):
        sentence = _("{rows} rows of at most {length} tokens, end to end and under a dense mask; the optimizer stays")
    return sentence.format(rows=config.per_device_eval_batch_size, length=f"{config.max_length:,}")


def replies(config: RunConfig, shape: Shape, count: int) -> str:
    """What is kept while replies are made."""
    tokens = config.max_length + config.max_new_tokens
    size = human_bytes(cache_bytes(text_settings(shape), tokens))
    sentence = _("the trained model; keys and values of {count} replies of {tokens} tokens ({size} each in 16 bits)")
    return sentence.format(count=count, tokens=f"{tokens:,}", size=size)


def measuring_merged(config: RunConfig, shape: Shape, device: Device) -> Phase:
    """The whole model in 16 bits, or as a CPU computes; of a card four fifths are filled, the rest waits outside."""
    wide, share = parts.number_bytes(config, device.gpu), device.sharing(config)
    merged = held = float(wide * shape.parameters)
    if device.gpu:
        held = min(merged / share, 0.8 * device.room)
    scores = scoring_bytes(text_settings(shape), config.max_length) * wide / 2
    per_row = max(scores, per_reply(config, shape, device))
    rows, rest = rows_that_fit(device, held, per_row), max(merged - share * held, 0.0)
    why = _("the whole model in {bits} bits, {rows} rows at once")
    if rest > 1:
        why = _("the whole model in {bits} bits, {rows} rows at once, {gigabytes} GB of it outside the card: slow")
    why = why.format(bits=8 * wide, rows=rows, gigabytes=f"{rest / 1e9:.1f}")
    return Phase(N_("measuring the merged model"), "05, 06", device.forward_need(held + rows * per_row), rest, why)


def merge(config: RunConfig, shape: Shape, gpu: bool = True) -> Phase:
    """The merge, in the machine's own memory: weight file by weight file, or by peft with the whole model there."""
    counted, largest = shape.counted(config.lora_target_modules), 2 * 4 * shape.largest_map
    size = shard_bytes(2 * shape.parameters) + largest
    why = _("libraries, one weight file, two float32 copies of the largest linear map")
    if counted and not counted.merges_by_weight:
        wide = parts.number_bytes(config, gpu)
        size = wide * shape.parameters + max(largest, 2 * 4 * shape.stacked)
        why = _("peft merges this architecture with the whole {bits}-bit model in the machine's memory")
        why = why.format(bits=8 * wide)
    return Phase(N_("merge"), "05", 0, LIBRARIES + size, why)


def disk_parts(config: RunConfig, shape: Shape) -> list[Part]:
    """Disk of the whole series, and of the GGUF file of 07."""
    count, weights = parts.adapter_parameters(config, shape), 2 * shape.parameters
    checkpoint = (parts.TRAINED + parts.optimizer_bytes(config)[0]) * count
    checkpoints = (config.save_total_limit + 1 + (config.keep == "best")) * checkpoint
    merges, gguf, file = 1, weights, _("a 16-bit file of 07")
    if config.merge_method == "auto" and config.load_in_4bit:
        merges, gguf, file = 2, 0, _("07's file takes the room of the merge that was not chosen")
    merged = _("16-bit weights, {merges} at once until one is chosen").format(merges=merges)
    return [
        Part(N_("model download"), weights, _("16-bit weights, kept in the cache")),
        Part(N_("checkpoints"), checkpoints, _("adapter and optimizer state, one more than is kept")),
        Part(N_("adapter"), parts.TRAINED * count, _("what you will keep")),
        Part(N_("merged models"), merges * weights, merged),
        Part(N_("GGUF"), gguf, file),
    ]


def text_settings(shape: Shape) -> dict:
    """The language model's config, as far as it is known."""
    counted = shape.counted()
    return {
        **(counted.text if counted else {}),
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
    }
