"""Every moment of the run, not the training alone: what it needs on the GPU, in the machine's own memory, and on the disk."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.merge.folder import shard_bytes
from helpers.model.rows import cache_bytes, reply_bytes, rows_at_once, scoring_bytes
from helpers.plan.memory import (
    Part,
    adapter_parameters,
    adapter_parts,
    mask_parts,
    number_bytes,
    optimizer_bytes,
    total,
    trained_bytes,
    weight_parts,
)
from helpers.plan.need import (
    KEPT,
    KEPT_FORWARD,
    LIBRARIES,
    Device,
    bytes_of_each,
    evaluation,
    step,
    with_allowances,
)
from helpers.plan.shape import Shape
from helpers.settings import RunConfig

REPLIES, MEASURED = 8, 8  # rows that 05 and 06 work on together where they fit


@dataclass(frozen=True)
class Moment:
    """One moment: where it happens, its bytes on the device that trains and in the machine's own memory, and why."""

    name: str
    where: str
    device: float
    ram: float
    why: str

    def fits(self, room: float) -> bool:
        """Whether it fits a device of `room` bytes."""
        return self.device <= room


def moments(config: RunConfig, shape: Shape, device: Device) -> list[Moment]:
    """The moments of notebooks 00 and 04 to 07 in order, on `device`; on a machine without a GPU all is its own memory."""
    wide = number_bytes(config, device.gpu)  # a model that is measured lies in memory as it computes
    share = device.cards if config.split_model else 1  # of several cards each has a part of the layers
    weights = total(weight_parts(config, shape, device.gpu)) / share
    trained = adapter_parts(config, shape, device.gpu)[0]
    merged, tokens = float(wide * shape.parameters), config.max_length + config.max_new_tokens
    text = _text(shape)
    reply, score = reply_bytes(text, tokens) * wide / 2, scoring_bytes(text, config.max_length) * wide / 2
    largest = 2 * 4 * shape.largest_map
    base = weights + trained.bytes / share
    replies = _rows(device, base, reply, REPLIES)
    on_card = min(merged / share, 0.8 * device.room) if device.gpu else merged
    merged_rows = _rows(device, on_card, max(reply, score), MEASURED)
    training = step(config, shape, gpu=device.gpu).bytes if share == 1 else bytes_of_each(config, shape, share)
    rest = max(merged - share * on_card, 0.0)
    spilled = f", {rest / 1e9:.1f} GB of it in the machine's memory: slow" if rest > 1 else ""
    found = [
        Moment("rehearsal", "00", training, 0, "the training step on the longest rows"),
        Moment("training", "04", training, 0, "the fullest moment of a step"),
        Moment("evaluation in training", "04", evaluation(config, shape, device), 0, _how(config)),
        Moment("reload and two replies", "04", base + 2 * reply, 0, "the trainer is let go before"),
        Moment("measuring base and adapter", "05, 06", base + replies * reply, 0,
               f"4-bit model, and keys and values of {replies} replies of {tokens:,} tokens ({cache_bytes(text, tokens) * wide / 2e6:,.0f} MB each)"),
        Moment("requantised merge", "05", base + largest, 0, "one linear map at a time in 32 bits"),
        merge(config, shape, device.gpu),
        Moment("measuring the merged model", "05, 06",
               on_card + merged_rows * max(reply, score), rest,
               f"the whole model in {8 * wide} bits, {merged_rows} rows at once{spilled}"),
        Moment("GGUF", "07", 0, LIBRARIES + largest, "written weight by weight"),
    ]  # fmt: skip
    if device.gpu:
        return [Moment(m.name, m.where, with_allowances(m.device) if m.device else 0, m.ram, m.why) for m in found]
    return [Moment(m.name, m.where, m.device * _kept(m) + LIBRARIES if m.device else m.ram, 0, m.why) for m in found]


def _kept(moment: Moment) -> float:
    """What a CPU keeps beside the tensors was measured in training; other moments run one forward pass."""
    return KEPT if moment.name in ("rehearsal", "training") else KEPT_FORWARD


def _rows(device: Device, held: float, per_row: float, at_most: int) -> int:
    """As 05 and 06 choose them, with the same function."""
    return rows_at_once(device.room - (with_allowances(held) if device.gpu else held + LIBRARIES), per_row, at_most)


def _how(config: RunConfig) -> str:
    laid = ", rows end to end, kept apart by a dense mask" if mask_parts(config, 2, 8) and config.packing else ""
    return (
        f"{config.per_device_eval_batch_size} rows of at most {config.max_length:,} tokens{laid}; the optimizer stays"
    )


def merge(config: RunConfig, shape: Shape, gpu: bool = True) -> Moment:
    """The merge, in the machine's own memory: weight file by weight file, or by peft with the whole model there."""
    found, largest = shape.counted(config.lora_target_modules), 2 * 4 * shape.largest_map
    if found and not found.merges_by_weight:
        wide = number_bytes(config, gpu)
        why = f"peft merges this architecture with the whole {8 * wide}-bit model in the machine's memory"
        return Moment("merge", "05", 0, LIBRARIES + wide * shape.parameters + max(largest, 2 * 4 * shape.stacked), why)
    file = shard_bytes(2 * shape.parameters)
    why = "libraries, one weight file, two float32 copies of the largest linear map"
    return Moment("merge", "05", 0, LIBRARIES + file + largest, why)


def disk_parts(config: RunConfig, shape: Shape, gpu: bool = True) -> list[Part]:
    """Disk of the whole series, and of the GGUF file of 07."""
    count, size = adapter_parameters(config, shape), trained_bytes(config, gpu)
    checkpoint = (size + optimizer_bytes(config, size)[0]) * count
    merges = 2 if config.merge_method == "auto" and config.load_in_4bit else 1
    kept = config.save_total_limit + 1 + (config.keep == "best")
    told = "a 16-bit file of 07" if merges == 1 else "07's file takes the room of the merge that was not chosen"
    gguf = Part("GGUF", 2 * shape.parameters if merges == 1 else 0, told)
    return [
        Part("model download", 2 * shape.parameters, "16-bit weights, kept in the cache"),
        Part("checkpoints", kept * checkpoint, "adapter and optimizer state, one more than is kept"),
        Part("adapter", size * count, "what you will keep"),
        Part("merged models", merges * 2 * shape.parameters, f"16-bit weights, {merges} at once until one is chosen"),
        gguf,
    ]


def _text(shape: Shape) -> dict:
    """The language model's config, as far as it is known."""
    found = shape.counted()
    known = {"hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads}
    known |= {"num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim, "vocab_size": shape.vocabulary}
    return {**(found.text if found else {}), **known, "intermediate_size": shape.intermediate}
