"""What a training holds all the time: weights, adapter, gradients, optimizer state. Imports in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from helpers.model import memory
from helpers.model.device import compute_dtype
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.words import N_, _

QUANT_BLOCK, CONSTANTS_BLOCK = 64, 256  # bitsandbytes: weights per constant, constants per second-level constant
TRAINED = 4  # bytes of a number of the adapter: float32, whatever the base computes in


class Part(NamedTuple):
    """One component: its English name, its bytes and, in a sentence, what is counted."""

    name: str
    bytes: float
    why: str


def total(parts: Iterable[Part]) -> float:
    """Bytes of all parts."""
    return sum(part.bytes for part in parts)


def number_bytes(config: RunConfig, gpu: bool = True) -> int:
    """Bytes of a number in a product: 2, or 4 in float32, which "auto" means on a CPU without bfloat16 instructions."""
    if config.compute_dtype == "auto" and not gpu:
        return compute_dtype(config).itemsize
    return 4 if config.compute_dtype == "float32" else 2


def adapter_parameters(config: RunConfig, shape: Shape) -> int:
    """LoRA adds r x (in + out) numbers to every linear map it is put beside; where, is asked of peft."""
    if counted := shape.counted(config.lora_target_modules):
        return config.lora_r * counted.adapter
    return config.lora_r * shape.layers * sum(i + o for i, o in targeted(config, shape).values())


def targeted(config: RunConfig, shape: Shape) -> dict[str, tuple[int, int]]:
    """The linear maps of one layer that get an adapter, by config.json. Unknown names count as the whole layer."""
    maps = {**shape.attention, **shape.feed_forward}
    wanted = {name.strip().removesuffix("_proj") for name in config.lora_target_modules.split(",")}
    return {name: maps[name] for name in maps if name in wanted} or maps


def stays_unpacked(config: RunConfig, shape: Shape, gpu: bool = True) -> bool:
    """Whether the 4-bit weights are unpacked once and kept so: on a CPU with room for them (`model.unpacking`)."""
    unpacked = number_bytes(config, gpu) * shape.quantised_parameters
    return config.load_in_4bit and not gpu and memory.stays_unpacked(unpacked)


def unpacked_at_work(config: RunConfig, shape: Shape, gpu: bool) -> float:
    """Bytes of the weights that are unpacked for one product; of experts with an adapter, a copy of all of a layer."""
    wide, counted = number_bytes(config, gpu), shape.counted(config.lora_target_modules)
    if counted and counted.adapts_experts and shape.stacked:
        return 2 * wide * shape.stacked
    packed = config.load_in_4bit and not stays_unpacked(config, shape, gpu)
    return (wide + 4 / QUANT_BLOCK) * shape.largest_map if packed else 0


def weight_parts(config: RunConfig, shape: Shape, gpu: bool = True) -> list[Part]:
    """The base model's weights as they lie in memory."""
    inner, size = shape.quantised_parameters, number_bytes(config, gpu)
    wide = N_("16-bit weights") if size == 2 else N_("32-bit weights")
    if not config.load_in_4bit:
        return [Part(wide, size * shape.parameters, _("{size} bytes for every parameter").format(size=size))]
    constants, how = 4 / QUANT_BLOCK, _("4 bytes per 64 of these parameters")
    if config.double_quant:
        constants = 1 / QUANT_BLOCK + 4 / (QUANT_BLOCK * CONSTANTS_BLOCK)
        how = _("1 byte per 64, and 4 bytes per 64 x 256 of these parameters")
    rest = _("{size} bytes for what is not quantised: embeddings, output head, norms, and experts where it has any")
    parts = [
        Part(N_("4-bit weights"), 0.5 * inner, _("half a byte for every parameter of a linear map in the layers")),
        Part(N_("quantisation constants"), constants * inner, how),
        Part(wide, size * (shape.parameters - inner), rest.format(size=size)),
    ]
    if stays_unpacked(config, shape, gpu):
        kept = _("the 4-bit weights once more with all their bits: a CPU keeps them in half of its free memory at most")
        parts.append(Part(N_("unpacked weights"), size * inner, kept))
    return parts


def adapter_parts(config: RunConfig, shape: Shape) -> list[Part]:
    """What is trained, and what training it needs beside it."""
    count = adapter_parameters(config, shape)
    numbers = _("{millions} M numbers of {size} bytes").format(millions=f"{count / 1e6:.1f}", size=TRAINED)
    state, how = optimizer_bytes(config)
    return [
        Part(N_("adapter"), TRAINED * count, numbers),
        Part(N_("gradients"), TRAINED * count, _("one for every number of the adapter")),
        Part(N_("optimizer state"), state * count, how),
    ]


def optimizer_bytes(config: RunConfig) -> tuple[float, str]:
    """Bytes of optimizer state per trained number, and why."""
    size, how = 8, _("not known for {optim}: counted as AdamW, 8 bytes per number").format(optim=config.optim)
    if "8bit" in config.optim:
        size, how = 2 * (1 + 4 / 256), _("two running means per number, 1 byte each, and a constant per 256")
    elif "adamw" in config.optim:
        size, how = 2 * TRAINED, _("two running means per number, 4 bytes each")
    return size, how + (_("; a full card may page them out") if "paged" in config.optim else "")
