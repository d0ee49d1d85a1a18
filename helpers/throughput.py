"""How long a training takes and what it costs: published speeds with their sources, and your own once there is one.

A small table, dated November 2024 and before; prices are never in it. This module imports in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.config import RunConfig
from helpers.planner import Shape, adapter_parameters

SPREAD = 0.2  # what another driver, cooling or data set changes; added on both sides of a published figure
SMALLEST = 10**9  # parameters: below this the published speeds say nothing


@dataclass(frozen=True)
class Gpu:
    """A card you can rent: memory in GB (10^9 bytes), and 10^12 dense 16-bit operations per second at most."""

    name: str
    gigabytes: int
    peak: float


# Peaks: NVIDIA's data sheets and GA102/AD102 white papers, 16-bit tensor cores without sparsity.
GPUS = (
    Gpu("T4 16 GB", 16, 65),
    Gpu("RTX 3090 24 GB", 24, 71),
    Gpu("L4 24 GB", 24, 121),
    Gpu("RTX 4090 24 GB", 24, 165),
    Gpu("RTX A6000 48 GB", 48, 155),
    Gpu("L40S 48 GB", 48, 362),
    Gpu("A100 80 GB", 80, 312),
    Gpu("H100 80 GB", 80, 989),
)


@dataclass(frozen=True)
class Figure:
    """One published speed, with what is needed to compare it. All are QLoRA with activation checkpointing."""

    gpu: str
    tokens_per_second: float
    model: str  # a name in shapes.SHAPES of the same size
    length: int
    settings: str
    source: str


FIGURES = (
    Figure(
        "RTX 4090 24 GB",
        2413,
        "meta-llama/Llama-3.1-8B",
        2048,
        "Llama-3.1-8B, batch 2, packed to 2048, rank 8, compiled",
        "torchtune README, September 2024",
    ),
    Figure(
        "A100 80 GB",
        2415,
        "meta-llama/Llama-2-7b-hf",
        1024,
        "Llama-2-7B, batch 4 x 2, length 1024, rank 8, without FlashAttention",
        "LLaMA-Factory's table in Unsloth's README, early 2024",
    ),
    Figure(
        "A100 80 GB",
        8 * 2048 / 7.0,
        "meta-llama/Llama-2-7b-hf",
        2048,
        "Qwen-7B (GPTQ 4 bits, fp16), batch 1 x 8, length 2048, FlashAttention 2: 7.0 s per step",
        "Qwen README, profiling table, 2023",
    ),
    Figure(
        "A100 80 GB",
        8 * 512 / 3.0,
        "meta-llama/Llama-2-7b-hf",
        512,
        "the same with length 512: 3.0 s per step",
        "Qwen README, profiling table, 2023",
    ),
)


def gpu(name: str) -> Gpu:
    """The card `name`. Raises ValueError that lists the known ones."""
    for card in GPUS:
        if card.name == name:
            return card
    raise ValueError(f"gpu={name!r} is not known: use one of {', '.join(card.name for card in GPUS)}.")


def operations_per_token(shape: Shape, length: int, adapter: int = 0, checkpointing: bool = True) -> float:
    """Floating-point operations per trained token.

    A product of matrices costs 2 per parameter forward and 2 backward (for the input only: the base is frozen);
    checkpointing computes the layers' forward pass twice. Adapters cost 2 more for their own gradient.
    Attention: 4 x length x width per layer forward, half of it masked, twice that backward.
    """
    passes = 3 if checkpointing else 2
    layers = 2 * (shape.linear_parameters / shape.experts + adapter) * passes + 2 * adapter
    attention = 2 * length * shape.heads * shape.head_dim * shape.layers * (passes + 1)
    head = 2 * shape.vocabulary * shape.hidden * 3  # forward, again in the backward pass, and its gradient
    return layers + attention + head


def used_share(figure: Figure) -> float:
    """The share of the card's peak that a published run reached, counted with our own operations per token."""
    from helpers.shapes import SHAPES

    shape = Shape.of(SHAPES[figure.model])
    adapter = adapter_parameters(RunConfig.load("llama2-7b", lora_r=8), shape)
    operations = figure.tokens_per_second * operations_per_token(shape, figure.length, adapter)
    return operations / (gpu(figure.gpu).peak * 1e12)


@dataclass(frozen=True)
class Speed:
    """Tokens per second, slowest and fastest, and where that comes from."""

    low: float
    high: float
    basis: str


def speed(card: Gpu, config: RunConfig, shape: Shape) -> Speed | None:
    """What `card` should train at; None below 10^9 parameters, where only a measurement helps."""
    if shape.parameters < SMALLEST:
        return None
    own = [used_share(figure) for figure in FIGURES if figure.gpu == card.name]
    known = own or [used_share(figure) for figure in FIGURES]
    adapter = adapter_parameters(config, shape)
    operations = operations_per_token(shape, config.max_length, adapter, config.activation_checkpointing)
    fastest = card.peak * 1e12 / operations
    basis = (
        "published" if own else f"estimate: {min(known):.0%} to {max(known):.0%} of its peak, as the published cards"
    )
    return Speed(min(known) * (1 - SPREAD) * fastest, max(known) * (1 + SPREAD) * fastest, basis)


def training_tokens(config: RunConfig, lengths: list[int]) -> int:
    """Tokens that the training computes, padding counted, from the tokens of each conversation.

    Unpacked: every row of a batch is as long as its longest. Packed: rows are full but for the last.
    """
    lengths = [min(length, config.max_length) for length in lengths]
    if config.packing:
        epoch = -(-sum(lengths) // config.max_length) * config.max_length
    else:
        ordered = sorted(lengths) if config.sort_by_length else _shuffled(lengths, config.seed)
        size = config.per_device_train_batch_size
        batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        epoch = sum(len(batch) * max(batch) for batch in batches)
    if config.max_steps > 0:
        rows = config.max_steps * config.per_device_train_batch_size * config.gradient_accumulation_steps
        width = config.max_length if config.packing else epoch / len(lengths)
        return int(rows * width)
    return int(epoch * config.num_train_epochs)


def _shuffled(lengths: list[int], seed: int) -> list[int]:
    import random

    return random.Random(seed).sample(lengths, len(lengths))


def hours(tokens: int, pace: Speed) -> tuple[float, float]:
    """Shortest and longest training time in hours."""
    return tokens / pace.high / 3600, tokens / pace.low / 3600


def said(tokens: int, pace: Speed, price_per_hour: float = 0.0) -> str:
    """Time, and cost when a price is known, as a range: "11 to 24 h, 3.19 to 6.96"."""
    short, long = hours(tokens, pace)
    digits = 0 if long >= 10 else 1
    time = f"{short:.{digits}f} to {long:.{digits}f} h"
    return f"{time}, {short * price_per_hour:.2f} to {long * price_per_hour:.2f}" if price_per_hour else time
