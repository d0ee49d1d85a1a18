"""Published memory numbers, with source and settings, to hold the plan against. Imports in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from helpers.config import PRESETS, RunConfig
from helpers.model.shapes import SHAPES
from helpers.plan.memory import full_logits_bytes, loss_part, step_parts, total
from helpers.plan.shape import Shape

GIB = 2**30


@dataclass(frozen=True)
class Published:
    """One number (bytes; `at_most`: only an upper limit is known) and the settings it belongs to."""

    what: str
    bytes: float
    model: str
    settings: dict
    source: str
    difference: str  # what that program does otherwise
    all_logits: bool = True  # the classical loss, not in tiles
    at_most: bool = False
    numbers: dict = field(default_factory=dict)  # config.json fields that differ from the bundled model of this size


COMMON = {"load_in_4bit": True, "activation_checkpointing": True, "lora_dropout": 0.0, "gradient_accumulation_steps": 1}
TORCHTUNE = {**COMMON, "lora_r": 8, "per_device_train_batch_size": 2, "max_length": 2048, "optim": "adamw_torch"}
# Qwen's script: rank 64 on all linear layers, AdamW in 32 bits, 8 rows one after the other
QWEN = {
    **COMMON,
    "lora_r": 64,
    "lora_dropout": 0.05,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
}
QWEN_README = "Qwen README, profiling table (one A100 80 GB, FlashAttention 2), 2023"
QWEN_WHY = (
    "GPTQ and not NF4, fp16 with DeepSpeed; at short lengths what driver and allocator hold shows, at long ones it makes "
    "fewer copies of the logits than the four counted here"
)
QLORA = {**COMMON, "lora_r": 64, "lora_dropout": 0.05, "per_device_train_batch_size": 1, "max_length": 512}

PUBLISHED = (
    Published(
        "Llama-3.1-8B QLoRA, 2 x 2048 packed, compiled",
        7.4 * GIB,
        "meta-llama/Llama-3.1-8B",
        TORCHTUNE,
        "torchtune README, September 2024 (RTX 4090)",
        "torch.compile fuses the steps inside a layer, so fewer values are kept",
        all_logits=False,
    ),
    Published(
        "Llama-3.1-8B LoRA, 2 x 2048 packed, compiled",
        16.2 * GIB,
        "meta-llama/Llama-3.1-8B",
        {**TORCHTUNE, "load_in_4bit": False},
        "torchtune README, September 2024 (RTX 4090)",
        "torch.compile, as above; adapter in 16 bits",
        all_logits=False,
    ),
    Published(
        "Llama-2-7B, 4 x 1024, rank 8",
        9e9,
        "meta-llama/Llama-2-7b-hf",
        {**COMMON, "lora_r": 8, "per_device_train_batch_size": 4, "max_length": 1024, "optim": "adamw_torch"}
        | {"gradient_accumulation_steps": 2},
        "LLaMA-Factory's table in Unsloth's README, early 2024 (A100)",
        "rounded to 1 GB, which layers have an adapter is not said; norms in float32; likely all that the process holds",
    ),
    *(
        Published(
            f"Qwen-7B Q-LoRA, 1 x {length}",
            size * 1e9,
            "meta-llama/Llama-2-7b-hf",
            {**QWEN, "max_length": length},
            QWEN_README,
            QWEN_WHY,
            numbers={"vocab_size": 151936},
        )
        for length, size in ((512, 11.5), (2048, 13.9), (8192, 23.5))
    ),
    Published(
        "LLaMA 33B on one 24 GB card, 1 x 512",
        24 * GIB,
        "huggyllama/llama-30b",
        {**QLORA, "optim": "paged_adamw_32bit"},
        "QLoRA paper (arXiv 2305.14314)",
        "a card's size, not a measurement; its paged optimizer may leave the card",
        at_most=True,
    ),
    Published(
        "LLaMA 65B on one 48 GB card, 1 x 512",
        48 * GIB,
        "huggyllama/llama-65b",
        {**QLORA, "optim": "paged_adamw_32bit"},
        "QLoRA paper (arXiv 2305.14314)",
        "as above",
        at_most=True,
    ),
)


def planned(one: Published) -> float:
    """Bytes that the closed form gives for the settings of `one`, with the loss that that program used."""
    config = RunConfig(**{**PRESETS["llama2-7b"], "packing": False, **one.settings})  # whatever the environment says
    shape = Shape.of({**SHAPES[one.model], **one.numbers})
    parts = step_parts(config, shape)
    tokens = config.per_device_train_batch_size * config.max_length
    if not one.all_logits:
        return total(parts)
    # the moment of the loss: the activations are kept, no layer is at work
    kept = [part for part in parts if part.name not in ("the layer at work", "unpacked weight", "loss")]
    hidden = loss_part(config, shape, tokens).bytes - 2 * min(tokens, 4096) * 32768
    return max(total(parts), total(kept) + hidden + full_logits_bytes(shape, tokens))


def comparison() -> list[dict]:
    """One row per number: published, planned, how far off, why, source."""
    rows = []
    for one in PUBLISHED:
        size = planned(one)
        off = "fits" if one.at_most and size <= one.bytes else f"{size / one.bytes - 1:+.0%}"
        told = f"{'at most ' if one.at_most else ''}{one.bytes / GIB:.1f}"
        rows.append({"published": one.what, "GiB": told, "planned GiB": f"{size / GIB:.1f}", "off": off})
        rows[-1] |= {"what is different there": one.difference, "source": one.source}
    return rows
