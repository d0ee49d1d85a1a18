"""Every phase of the run, not the training alone: what it needs on the GPU, in the machine's own memory, and on the disk."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.merge.folder import shard_bytes
from helpers.model.rows import cache_bytes, reply_bytes, rows_at_once, scoring_bytes
from helpers.plan.memory import (
    TRAINED,
    Part,
    adapter_parameters,
    adapter_parts,
    mask_parts,
    number_bytes,
    optimizer_bytes,
    total,
    weight_parts,
)
from helpers.plan.need import LIBRARIES, Device, evaluation
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import N_, _

ROWS = 8  # replies, or rows that are measured: so many at once in 05 and 06 where they fit


@dataclass(frozen=True)
class Phase:
    """One phase: where it happens, its bytes on the device that trains and in the machine's own memory, and why."""

    name: str
    where: str
    device: float
    ram: float
    why: str

    def fits(self, room: float) -> bool:
        """Whether it fits a device of `room` bytes."""
        return self.device <= room


def phases(config: RunConfig, shape: Shape, device: Device) -> list[Phase]:
    """The phases of notebooks 00 and 04 to 07 in order, on `device`; on a machine without a GPU all is its own memory."""
    share = device.cards if config.split_model else 1  # of several cards each has a part of the layers
    base = (total(weight_parts(config, shape, device.gpu)) + adapter_parts(config, shape)[0].bytes) / share
    reply, largest = per_reply(config, shape, device), 2 * 4 * shape.largest_map
    count = rows_that_fit(device, base, reply)
    training, held_out = device.need(config, shape), device.forward_need(evaluation(config, shape, device))
    names = {
        N_("rehearsal"): ("00", training, _("the training step on the longest rows")),
        N_("training"): ("04", training, _("the fullest point of a step")),
        N_("evaluation in training"): ("04", held_out, evaluated(config)),
        N_("reload and two replies"): ("04", device.forward_need(base + 2 * reply), _("the trainer is let go before")),
        N_("measuring base and adapter"): (
            "05, 06",
            device.forward_need(base + count * reply),
            replies(config, shape, count),
        ),
        N_("requantised merge"): ("05", device.forward_need(base + largest), _("one linear map at a time in 32 bits")),
    }
    found = [Phase(name, where, size, 0, why) for name, (where, size, why) in names.items()]
    found += [merge(config, shape, device.gpu), measuring_merged(config, shape, device)]
    found.append(Phase(N_("GGUF"), "07", 0, LIBRARIES + largest, _("written weight by weight")))
    return found if device.gpu else [Phase(p.name, p.where, p.device or p.ram, 0, p.why) for p in found]


def per_reply(config: RunConfig, shape: Shape, device: Device) -> float:
    """Bytes of one row while it is answered."""
    tokens = config.max_length + config.max_new_tokens
    return reply_bytes(text_settings(shape), tokens) * number_bytes(config, device.gpu) / 2


def rows_that_fit(device: Device, held: float, per_row: float) -> int:
    """As 05 and 06 choose them, with the same function."""
    return rows_at_once(device.room - (device.forward_need(held) if device.gpu else held + LIBRARIES), per_row, ROWS)


def evaluated(config: RunConfig) -> str:
    """What an evaluation in training works on."""
    told = _("{rows} rows of at most {length} tokens; the optimizer stays")
    if config.packing and mask_parts(config, 2):
        told = _("{rows} rows of at most {length} tokens, end to end, kept apart by a dense mask; the optimizer stays")
    return told.format(rows=config.per_device_eval_batch_size, length=f"{config.max_length:,}")


def replies(config: RunConfig, shape: Shape, count: int) -> str:
    """What is kept while replies are made."""
    tokens = config.max_length + config.max_new_tokens
    size = human_bytes(cache_bytes(text_settings(shape), tokens))
    told = _(
        "the model as it was trained, and keys and values of {count} replies of {tokens} tokens ({size} each in 16 bits)"
    )
    return told.format(count=count, tokens=f"{tokens:,}", size=size)


def measuring_merged(config: RunConfig, shape: Shape, device: Device) -> Phase:
    """The whole model in 16 bits, or as a CPU computes; of a card four fifths are filled, the rest waits outside: slow."""
    wide, share = number_bytes(config, device.gpu), device.cards if config.split_model else 1
    merged = float(wide * shape.parameters)
    held = min(merged / share, 0.8 * device.room) if device.gpu else merged
    per_row = scoring_bytes(text_settings(shape), config.max_length) * wide / 2
    per_row = max(per_row, per_reply(config, shape, device))
    rows, rest = rows_that_fit(device, held, per_row), max(merged - share * held, 0.0)
    told = _("the whole model in {bits} bits, {rows} rows at once")
    if rest > 1:
        told = _(
            "the whole model in {bits} bits, {rows} rows at once, {gigabytes} GB of it in the machine's memory: slow"
        )
    told = told.format(bits=8 * wide, rows=rows, gigabytes=f"{rest / 1e9:.1f}")
    return Phase(N_("measuring the merged model"), "05, 06", device.forward_need(held + rows * per_row), rest, told)


def merge(config: RunConfig, shape: Shape, gpu: bool = True) -> Phase:
    """The merge, in the machine's own memory: weight file by weight file, or by peft with the whole model there."""
    found, largest = shape.counted(config.lora_target_modules), 2 * 4 * shape.largest_map
    if found and not found.merges_by_weight:
        wide = number_bytes(config, gpu)
        why = _("peft merges this architecture with the whole {bits}-bit model in the machine's memory").format(
            bits=8 * wide
        )
        size = wide * shape.parameters + max(largest, 2 * 4 * shape.stacked)
    else:
        why = _("libraries, one weight file, two float32 copies of the largest linear map")
        size = shard_bytes(2 * shape.parameters) + largest
    return Phase(N_("merge"), "05", 0, LIBRARIES + size, why)


def disk_parts(config: RunConfig, shape: Shape) -> list[Part]:
    """Disk of the whole series, and of the GGUF file of 07."""
    count, weights = adapter_parameters(config, shape), 2 * shape.parameters
    merges = 2 if config.merge_method == "auto" and config.load_in_4bit else 1
    checkpoints = (
        (config.save_total_limit + 1 + (config.keep == "best")) * (TRAINED + optimizer_bytes(config)[0]) * count
    )
    file = _("a 16-bit file of 07") if merges == 1 else _("07's file takes the room of the merge that was not chosen")
    merged = _("16-bit weights, {merges} at once until one is chosen").format(merges=merges)
    return [
        Part(N_("model download"), weights, _("16-bit weights, kept in the cache")),
        Part(N_("checkpoints"), checkpoints, _("adapter and optimizer state, one more than is kept")),
        Part(N_("adapter"), TRAINED * count, _("what you will keep")),
        Part(N_("merged models"), merges * weights, merged),
        Part(N_("GGUF"), weights if merges == 1 else 0, file),
    ]


def text_settings(shape: Shape) -> dict:
    """The language model's config, as far as it is known."""
    found = shape.counted()
    known = {"hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads}
    known |= {"num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim, "vocab_size": shape.vocabulary}
    return {**(found.text if found else {}), **known, "intermediate_size": shape.intermediate}
