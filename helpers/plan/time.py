"""How long a training takes and what it costs: published speeds with their sources, and your own once there is one.

The published ones are of 2023 and 2024; prices are never in the table. This module imports in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.config import PAD_TO, PRESETS, RunConfig
from helpers.files import read_jsonl
from helpers.plan.memory import Shape, adapter_parameters
from helpers.runs import RunDir

SPREAD = 0.2  # what another driver, cooling or data set changes; added on both sides of a published number
SMALLEST = 10**9  # parameters: below this the published speeds say nothing
FULL_PASS = 1024  # tokens in one forward pass; with fewer, a card is not kept busy


@dataclass(frozen=True)
class Gpu:
    """A card you can rent: memory in GB (10^9 bytes), and 10^12 dense 16-bit operations per second at most."""

    name: str
    gigabytes: int
    peak: float


# Peaks: NVIDIA's data sheets and GA102/AD102 white papers, 16-bit tensor cores that sum in 32 bits, without sparsity.
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


def used_share(one: PublishedSpeed) -> float:
    """The share of the card's peak that a published run reached, counted with our own operations per token."""
    from helpers.model.shapes import SHAPES

    shape = Shape.of(SHAPES[one.model])
    adapter = adapter_parameters(RunConfig(**{**PRESETS["llama2-7b"], "lora_r": 8}), shape)
    operations = one.tokens_per_second * operations_per_token(shape, one.length, adapter)
    return operations / (gpu(one.gpu).peak * 1e12)


@dataclass(frozen=True)
class Speed:
    """Tokens per second, slowest and fastest, where that comes from, and whether padding counts as tokens in it."""

    low: float
    high: float
    basis: str
    padded: bool = True


def speed(card: Gpu, config: RunConfig, shape: Shape) -> Speed | None:
    """What `card` should train at; None below 10^9 parameters, where only a measurement helps.

    From the slowest share of its peak that anyone published to the fastest for this card, since programs differ more than
    cards; a card with fewer than two numbers takes the fastest of all. Numbers of passes under 1,024 tokens count only
    for such passes.
    """
    if shape.parameters < SMALLEST:
        return None
    full = config.per_device_train_batch_size * config.max_length >= FULL_PASS
    numbers = [one for one in SPEEDS if one.rows * one.length >= FULL_PASS or not full]
    own = [one for one in numbers if one.gpu == card.name]
    low, high = min(map(used_share, numbers)), max(map(used_share, own if len(own) > 1 else numbers))
    adapter = adapter_parameters(config, shape)
    operations = operations_per_token(shape, config.max_length, adapter, config.activation_checkpointing)
    fastest = card.peak * 1e12 / operations
    basis = f"{low:.0%} to {high:.0%} of its peak; numbers for this card: {len(own) or 'none'}"
    return Speed(low * (1 - SPREAD) * fastest, high * (1 + SPREAD) * fastest, basis)


def measured(run: RunDir) -> Speed | None:
    """This run's own speed, once 04 has trained: its slowest and fastest log but the first; None with fewer than three.

    At the end of a training its whole time counts too, with evaluations and saves.
    """
    rows = read_jsonl(run.metrics) if run.metrics.exists() else []
    logs = [row["tokens_per_second"] for row in rows if "tokens_per_second" in row][1:]
    if len(logs) < 2:
        return None
    facts = [row for row in rows if "device" in row]
    whole = [row["tokens"] / row["elapsed_s"] for row in facts]
    where = facts[-1]["device"] if facts else "this run"
    return Speed(min(logs + whole), max(logs), f"measured in this run ({where})", padded=False)


def conversation_lengths(config: RunConfig, run: RunDir, rows: int, tokens_per_row: int) -> tuple[list[int], str]:
    """Tokens of each training conversation, and where they are from: counted once 03 has run, else the guess given."""
    if not run.train_jsonl.exists():
        length = min(tokens_per_row, config.max_length)
        return [length] * rows, f"a guess: {rows:,} conversations of {length:,} tokens"
    from helpers.data.labels import encode_rows
    from helpers.model.chat import load_tokenizer

    found = encode_rows(read_jsonl(run.train_jsonl), load_tokenizer(config), config)["input_ids"]
    lengths = [len(ids) for ids in found]
    return lengths, f"counted: {len(lengths):,} conversations of {sum(lengths) / len(lengths):,.0f} tokens on average"


def training_tokens(config: RunConfig, lengths: list[int], padded: bool = True) -> int:
    """Tokens of the whole training, from the tokens of each conversation; with `padded` all that are computed.

    Unpacked, every row of a batch is then as long as its longest, in multiples of `PAD_TO`. Packed, rows are full but for the last.
    """
    lengths = [min(length, config.max_length) for length in lengths]
    size, steps = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if not padded:
        epoch = sum(lengths)
    elif config.packing:
        epoch = -(-sum(lengths) // config.max_length) * config.max_length
    else:
        ordered = sorted(lengths) if config.sort_by_length else _shuffled(lengths, config.seed)
        batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        epoch = sum(len(batch) * -(-max(batch) // PAD_TO) * PAD_TO for batch in batches)
    if config.max_steps <= 0:
        return int(epoch * config.num_train_epochs)
    width = config.max_length if config.packing else epoch / len(lengths)
    return int(config.max_steps * size * steps * width)


def _shuffled(lengths: list[int], seed: int) -> list[int]:
    import random

    return random.Random(seed).sample(lengths, len(lengths))


def hours(tokens: int, pace: Speed) -> tuple[float, float]:
    """Shortest and longest training time in hours."""
    return tokens / pace.high / 3600, tokens / pace.low / 3600


def said(tokens: int, pace: Speed, price_per_hour: float = 0.0) -> str:
    """Time, and cost when a price is known, as a range: "11 to 24 h, 3.19 to 6.96"."""
    short, long = hours(tokens, pace)
    if long < 1:
        time = f"{short * 60:.1f} to {long * 60:.1f} min"
    else:
        digits = 0 if long >= 10 else 1
        time = f"{short:.{digits}f} to {long:.{digits}f} h"
    return f"{time}, {short * price_per_hour:.2f} to {long * price_per_hour:.2f}" if price_per_hour else time
