"""Speeds that others published, with their sources and settings, of 2023 and 2024. Imports in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.plan.cards import gpu
from helpers.plan.memory import adapter_parameters
from helpers.plan.shape import Shape
from helpers.settings import PRESETS, RunConfig


@dataclass(frozen=True)
class PublishedSpeed:
    """One published speed of one card, with what is needed to compare it. All are QLoRA with activation checkpointing."""

    gpu: str
    tokens_per_second: float
    model: str  # a name in shapes.SHAPES of the same size
    rows: int  # in one forward pass
    length: int  # tokens per row
    settings: str
    source: str


LLAMA_7B, LLAMA_8B = "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-3.1-8B"
LLAMA_70B = "meta-llama/Llama-2-70b-hf"
ANSWER_AI = "Answer.AI, fsdp_qlora, benchmarks_03_2024.md, March 2024"
SAMPLES = 1024 * 2048  # tokens of every run in that table, which tells seconds for all its cards together
QWEN = "Qwen README, profiling table, 2023"

SPEEDS = (
    PublishedSpeed(
        "RTX 3090 24 GB",
        SAMPLES / 875 / 2,
        LLAMA_7B,
        8,
        2048,
        "Llama-2-7B, batch 8 on each of two cards (no sharding, 280 W), length 2048: 875 s for 1,024 rows",
        ANSWER_AI,
    ),
    PublishedSpeed(
        "RTX 4090 24 GB",
        SAMPLES / 450 / 2,
        LLAMA_7B,
        8,
        2048,
        "the same on two RTX 4090: 450 s",
        ANSWER_AI,
    ),
    PublishedSpeed(
        "RTX 4090 24 GB",
        2413,
        LLAMA_8B,
        2,
        2048,
        "Llama-3.1-8B, batch 2, packed to 2048, rank 8, compiled",
        "torchtune README, September 2024",
    ),
    PublishedSpeed(
        "A100 80 GB",
        2415,
        LLAMA_7B,
        4,
        1024,
        "Llama-2-7B, batch 4 x 2, length 1024, rank 8, without FlashAttention",
        "LLaMA-Factory's table in Unsloth's README, early 2024",
    ),
    PublishedSpeed(
        "A100 80 GB",
        8 * 2048 / 7.0,
        LLAMA_7B,
        1,
        2048,
        "Qwen-7B (GPTQ 4 bits, fp16), batch 1 x 8, length 2048, FlashAttention 2: 7.0 s per step",
        QWEN,
    ),
    PublishedSpeed("A100 80 GB", 8 * 512 / 3.0, LLAMA_7B, 1, 512, "the same with length 512: 3.0 s per step", QWEN),
    PublishedSpeed(
        "A100 80 GB",
        SAMPLES / 672 / 8,
        LLAMA_70B,
        4,
        2048,
        "Llama-2-70B, sharded over eight A100 of 40 GB, batch 4 each, length 2048: 672 s for 1,024 rows",
        ANSWER_AI,
    ),
    PublishedSpeed(
        "H100 80 GB",
        SAMPLES / 667 / 4,
        LLAMA_70B,
        8,
        2048,
        "Llama-2-70B, sharded over four H100, batch 8 each, length 2048: 667 s for 1,024 rows",
        ANSWER_AI,
    ),
)


def operations_per_token(shape: Shape, length: int, adapter: int = 0, checkpointing: bool = True) -> float:
    """Floating-point operations per trained token.

    A product of matrices costs 2 per parameter forward and 2 backward (for the input only: the base is frozen);
    checkpointing computes the layers' forward pass twice. Adapters cost 2 more for their own gradient.
    Attention: 4 x length x width per layer forward, half of it masked, twice that backward.
    """
    passes = 3 if checkpointing else 2
    layers = 2 * (shape.active_parameters + adapter) * passes + 2 * adapter
    attention = 2 * length * shape.heads * shape.head_dim * shape.layers * (passes + 1)
    head = 2 * shape.vocabulary * shape.hidden * 3  # forward, again in the backward pass, and its gradient
    return layers + attention + head


def used_share(one: PublishedSpeed) -> float:
    """The share of the card's peak that a published run reached, counted with our own operations per token."""
    from helpers.model.shapes import SHAPES

    shape = Shape.of(SHAPES[one.model])
    adapter = adapter_parameters(RunConfig(**{**PRESETS["llama2-7b"], "lora_r": 8}), shape)
    operations = one.tokens_per_second * operations_per_token(shape, one.length, adapter)
    return operations / (gpu(one.gpu).peak * 1e12)
