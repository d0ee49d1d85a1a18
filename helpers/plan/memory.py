"""How much memory a training step needs, term by term: a sum that can be checked by hand.

A closed form, fitted to nothing: every term says what it counts. `simulation.py` runs the same step and counts, and is
what is used where it ran. This module imports in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.plan.shape import Shape
from helpers.settings import LOSS_ROWS, RunConfig

TILE_TOKENS, TILE_WORDS = 4096, 32768  # TRL 1.16 computes its loss in tiles of at most this size
QUANT_BLOCK, CONSTANTS_BLOCK = 64, 256  # bitsandbytes: weights per constant, constants per second-level constant
SHARED = ("k_proj", "v_proj", "gate_proj")  # they read what another map has kept already


@dataclass(frozen=True)
class Part:
    """One component: its bytes and, in a sentence, what is counted."""

    name: str
    bytes: float
    why: str


def number_bytes(config: RunConfig, gpu: bool = True) -> int:
    """Bytes of a number in a matrix product: 2, or 4 in float32, which "auto" means on a CPU without bfloat16 instructions."""
    if config.compute_dtype == "auto" and not gpu:
        from helpers.model.device import compute_dtype

        return compute_dtype(config).itemsize
    return 4 if config.compute_dtype == "float32" else 2


def trained_bytes(config: RunConfig, gpu: bool = True) -> int:
    """Bytes of a number of the adapter: TRL trains it in bfloat16 beside a 4-bit base that computes so, else in float32."""
    return 2 if config.load_in_4bit and config.compute_dtype != "float16" and number_bytes(config, gpu) == 2 else 4


def adapter_parameters(config: RunConfig, shape: Shape) -> int:
    """LoRA adds r x (in + out) numbers to every linear map it is put beside; where, is asked of peft."""
    if found := shape.counted(config.lora_target_modules):
        return config.lora_r * found.adapter
    return config.lora_r * shape.layers * sum(i + o for i, o in targeted(config, shape).values())


def targeted(config: RunConfig, shape: Shape) -> dict[str, tuple[int, int]]:
    """The linear maps of one layer that get an adapter, by config.json. Unknown names count as the whole layer."""
    maps = {**shape.attention, **shape.feed_forward}
    wanted = {name.strip().removesuffix("_proj") for name in config.lora_target_modules.split(",")}
    return {name: size for name, size in maps.items() if name in wanted} or maps


def weight_parts(config: RunConfig, shape: Shape, gpu: bool = True) -> list[Part]:
    """The base model's weights as they lie in memory."""
    inner, size = shape.quantised_parameters, number_bytes(config, gpu)
    rest = shape.parameters - inner
    if not config.load_in_4bit:
        return [Part(f"{8 * size}-bit weights", size * (inner + rest), f"{size} bytes for every parameter")]
    constants = 4 / QUANT_BLOCK
    if config.double_quant:
        constants = 1 / QUANT_BLOCK + 4 / (QUANT_BLOCK * CONSTANTS_BLOCK)
    how = "1 byte per 64, and 4 bytes per 64 x 256" if config.double_quant else "4 bytes per 64"
    kept = "embeddings, output head and norms" + (", and all experts" if shape.experts > 1 else "")
    return [
        Part("4-bit weights", 0.5 * inner, "half a byte for every parameter of a linear map in the layers"),
        Part("quantisation constants", constants * inner, f"{how} of these parameters"),
        Part(f"{8 * size}-bit weights", size * rest, f"{size} bytes for {kept}, which are not quantised"),
    ]


def adapter_parts(config: RunConfig, shape: Shape, gpu: bool = True) -> list[Part]:
    """What is trained, and what training it needs beside it."""
    count, size = adapter_parameters(config, shape), trained_bytes(config, gpu)
    state, how = optimizer_bytes(config, size)
    return [
        Part("adapter", size * count, f"{count / 1e6:.1f} M numbers of {size} bytes"),
        Part("gradients", size * count, "one for every number of the adapter"),
        Part("optimizer state", state * count, how),
    ]


def optimizer_bytes(config: RunConfig, size: int) -> tuple[float, str]:
    """Bytes of optimizer state per trained number, and why."""
    paged = "; a full card may page them out" if "paged" in config.optim else ""
    if "8bit" in config.optim:
        return 2 * (1 + 4 / 256), f"two running means per number, 1 byte each, and a constant per 256{paged}"
    if "adamw_torch" in config.optim:
        return 2 * size, f"two running means per number, {size} bytes each, as the adapter itself"
    if "adamw" in config.optim:
        return 8, f"two running means per number, 4 bytes each{paged}"
    return 8, f"not known for {config.optim}: counted as AdamW, 8 bytes per number"


def optimizer_temporaries(config: RunConfig, adapter: float, gpu: bool) -> float:
    """Bytes that torch's AdamW makes and drops in its step: on a GPU for all numbers at once, two for each."""
    return 2 * adapter if gpu and "adamw_torch" in config.optim else 0


def saved_by_layer(config: RunConfig, shape: Shape, gpu: bool = True) -> float:
    """Bytes per token that the backward pass of one layer needs from its forward pass, with numbers of `number_bytes`."""
    wide = number_bytes(config, gpu)
    # dropout keeps its mask: 1 byte; on a CPU a number as wide as the adapter's
    mask = 0 if not config.lora_dropout else 1 if gpu else trained_bytes(config, gpu)
    found = shape.counted(config.lora_target_modules)
    maps = [(m.name, m.inputs, m.count / shape.layers) for m in found.maps if m.adapted] if found else []
    maps = maps or [(f"{name}_proj", size[0], 1) for name, size in targeted(config, shape).items()]
    if config.lora_dropout:  # every adapter drops other inputs, so each keeps its own copy
        inputs = sum((wide + mask) * size * count for _, size, count in maps)
    else:
        inputs = sum(wide * size * count for name, size, count in maps if name not in SHARED)
    ranks = wide * config.lora_r * sum(count for _, _, count in maps)
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 2 * (4 * shape.hidden + 4)  # the float32 copy inside each norm, and its scale
    attention = wide * (2 * q + 2 * kv) + 4 * shape.heads  # q, k, v, result, and one sum per head
    feed_forward = (3 if shape.gated else 2) * wide * shape.intermediate
    return inputs + ranks + norms + attention + feed_forward


def loss_part(config: RunConfig, shape: Shape, tokens: int, gpu: bool = True, labelled: float = 1.0) -> Part:
    """The loss as the project computes it: in tiles on a GPU (TRL), on the `labelled` share of the tokens on a CPU."""
    wide = number_bytes(config, gpu)
    hidden = (wide + 4) * tokens * shape.hidden
    if gpu:
        rows = min(tokens, TILE_TOKENS)
        how = f"a tile of {rows:,} x {TILE_WORDS:,} logits in 16 bits, and the gradient of the last layer"
        return Part("loss", 2 * rows * TILE_WORDS + hidden, how)
    count = int(labelled * tokens)
    block = (4 + 4) * min(count, LOSS_ROWS)  # so many tokens at a time in float32, and their logarithms
    how = f"{count:,} labelled tokens x {shape.vocabulary:,} words of {wide} bytes, and the gradient of the last layer"
    return Part("loss", (wide * count + block) * shape.vocabulary + hidden, how)


def full_logits_bytes(shape: Shape, tokens: int) -> int:
    """What the classical loss needs: all logits in 16 bits, and in float32 the copy, its logarithms, and their gradient."""
    return (2 + 4 + 4 + 4) * tokens * shape.vocabulary


def step_parts(
    config: RunConfig, shape: Shape, batch: int = 0, length: int = 0, gpu: bool = True, labelled: float = 1.0
) -> list[Part]:
    """The fullest moment of a training step on `batch` rows of `length` tokens (0: the config's), component by component."""
    wide, tokens = (
        number_bytes(config, gpu),
        (batch or config.per_device_train_batch_size) * (length or config.max_length),
    )
    adapter, gradients, state = adapter_parts(config, shape, gpu)
    layer = saved_by_layer(config, shape, gpu) * tokens
    kept = shape.layers * (wide * shape.hidden * tokens if config.activation_checkpointing else layer)
    loss = loss_part(config, shape, tokens, gpu, labelled)
    at_work = (layer if config.activation_checkpointing else 0) + 3 * wide * shape.intermediate * tokens
    unpacked = (wide + 4 / QUANT_BLOCK) * shape.largest_map if config.load_in_4bit else 0
    found = shape.counted(config.lora_target_modules)
    if shape.stacked and found and found.adapts_experts:  # peft adds the adapter to all experts of a layer, in a copy
        unpacked = 2 * wide * shape.stacked
    what = "the input of every layer" if config.activation_checkpointing else "everything the backward pass will need"
    parts = [*weight_parts(config, shape, gpu), adapter, state]
    parts += [gradients] if config.gradient_accumulation_steps > 1 else []
    parts += [Part("kept activations", kept, f"{what}, {tokens:,} tokens x {shape.layers} layers")]
    parts += mask_parts(config, batch or config.per_device_train_batch_size, length or config.max_length)
    stepping = optimizer_temporaries(config, adapter.bytes, gpu)
    again = 0 if config.gradient_accumulation_steps > 1 else gradients.bytes
    if again + stepping > kept + max(loss.bytes, at_work + unpacked):  # the activations have gone by then
        parts = [part for part in parts if part.name not in ("kept activations", "attention mask", "gradients")]
        return [*parts, gradients, Part("optimizer step", stepping, "what AdamW works with, for all numbers at once")]
    if loss.bytes > at_work + unpacked:
        return [*parts, loss]
    how = "one layer computed again, and " if config.activation_checkpointing else ""
    parts += [Part("the layer at work", at_work, f"{how}the gradients of its widest part")]
    return [*parts, Part("unpacked weight", unpacked, "the largest linear map with all its bits, one at a time")]


def mask_parts(config: RunConfig, batch: int, length: int) -> list[Part]:
    """Attention's mask. FlashAttention needs none; sdpa keeps packed rows apart by a dense one, rows x length squared."""
    if config.attn_implementation == "flash_attention_2" or (not config.packing and batch == 1):
        return []
    size = (batch * length) ** 2 if config.packing else batch * length**2
    how = "packed rows must not see each other" if config.packing else "shorter rows are padded"
    return [Part("attention mask", size, f"1 byte for every pair of tokens: {how}")]


def total(parts: list[Part]) -> float:
    """Bytes of all parts."""
    return sum(part.bytes for part in parts)
