"""How long a training takes and what it costs, from published speeds (speeds.json, of 2023 and 2024) and your own."""

from __future__ import annotations

import contextlib
import io
import random
import tempfile
from pathlib import Path
from typing import NamedTuple

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.files import read_json, read_jsonl
from helpers.model.shapes import SHAPES
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import local_path
from helpers.plan.cards import Gpu, gpu
from helpers.plan.parts import adapter_parameters
from helpers.plan.shape import Shape
from helpers.runs import RunDir
from helpers.settings import PAD_TO, PRESETS, RunConfig
from helpers.show.words import _

SPREAD = 0.2  # what another driver, cooling or data set changes; added on both sides of a published number
SMALLEST = 10**9  # parameters: below this the published speeds say nothing
FULL_PASS = 1024  # tokens in one forward pass; with fewer, a card is not kept busy


class PublishedSpeed(NamedTuple):
    """One published speed of one kind of card, with what is needed to compare it."""

    gpu: str
    tokens: int  # in `seconds`, on all `cards` together
    seconds: float
    cards: int
    model: str  # a name in shapes.SHAPES of the same size
    rows: int  # in one forward pass
    length: int  # tokens per row
    settings: str
    source: str

    @property
    def tokens_per_second(self) -> float:
        """Of one card."""
        return self.tokens / self.seconds / self.cards


SPEEDS = tuple(PublishedSpeed(**row) for row in read_json(Path(__file__).with_name("speeds.json"))["speeds"])


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


def used_share(row: PublishedSpeed) -> float:
    """The share of the card's peak that a published run reached, counted with our own operations per token."""
    shape = Shape.of(SHAPES[row.model])
    adapter = adapter_parameters(RunConfig(**{**PRESETS["llama2-7b"], "lora_r": 8}), shape)
    operations = row.tokens_per_second * operations_per_token(shape, row.length, adapter)
    return operations / (gpu(row.gpu).peak * 1e12)


class Speed(NamedTuple):
    """Tokens per second, slowest and fastest, where that comes from, and whether padding counts as tokens in it."""

    low: float
    high: float
    basis: str
    padded: bool = True


def speed(card: Gpu, config: RunConfig, shape: Shape) -> Speed | None:
    """What one `card` should train at; None below 10^9 parameters, where only a measurement helps.

    From the slowest share of its peak that anyone published to the fastest for this card, since programs differ more
    than cards; a card with fewer than two numbers takes the fastest of all. Numbers of passes under 1,024 tokens count
    only for such passes.
    """
    if shape.parameters < SMALLEST:
        return None
    numbers = SPEEDS
    if config.per_device_train_batch_size * config.max_length >= FULL_PASS:
        numbers = [row for row in SPEEDS if row.rows * row.length >= FULL_PASS]
    own = [row for row in numbers if row.gpu == card.name]
    low, high = min(map(used_share, numbers)), max(map(used_share, own if len(own) > 1 else numbers))
    adapter = adapter_parameters(config, shape)
    operations = operations_per_token(shape, config.max_length, adapter, config.activation_checkpointing)
    fastest = card.peak * 1e12 / operations
    basis = _("{low} to {high} of its peak; numbers for this card: {count}")
    basis = basis.format(low=f"{low:.0%}", high=f"{high:.0%}", count=len(own) or _("none"))
    return Speed(low * (1 - SPREAD) * fastest, high * (1 + SPREAD) * fastest, basis)


def measured(run: RunDir) -> Speed | None:
    """This run's own speed, once 04 has trained: its slowest and fastest log but the first; None with fewer than three.

    At the end of a training its whole time counts too, with evaluations and saves.
    """
    rows = read_jsonl(run.metrics) if run.metrics.exists() else []
    logs = [row["tokens_per_second"] for row in rows if "tokens_per_second" in row][1:]
    if len(logs) < 2:
        return None
    slowest, where = min(logs), _("this run")
    for row in rows:
        if "device" in row:
            slowest, where = min(slowest, row["tokens"] / row["elapsed_s"]), row["device"]
    return Speed(slowest, max(logs), _("measured in this run ({where})").format(where=where), padded=False)


def conversation_lengths(config: RunConfig, run: RunDir, rows: int, tokens_per_row: int) -> tuple[list[int], str]:
    """Tokens of each training conversation, and where they are from.

    Counted where 03 has run, and for local data at once; else a guess: `rows` of `tokens_per_row`.
    """
    lengths, length = None, min(tokens_per_row, config.max_length)
    basis = _("a guess: {rows} conversations of {length} tokens").format(rows=f"{rows:,}", length=f"{length:,}")
    if run.train_jsonl.exists():
        lengths = _counted(config, run)
    elif local_path(config.dataset_id) is not None:
        try:  # as 03 would prepare them, in a folder that is thrown away
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                prepare(config, RunDir(Path(folder)))
                lengths = _counted(config, RunDir(Path(folder)))
        except (ValueError, OSError) as reason:  # 03 says it again, where it can be mended
            basis = _("{guess}, since they cannot be counted yet: {reason}").format(guess=basis, reason=reason)
    if lengths is None:
        return [length] * rows, basis
    basis = _("counted: {rows} conversations of {mean} tokens on average")
    return lengths, basis.format(rows=f"{len(lengths):,}", mean=f"{sum(lengths) / len(lengths):,.0f}")


def _counted(config: RunConfig, run: RunDir) -> list[int]:
    rows = encode_rows(read_jsonl(run.train_jsonl), load_tokenizer(config), config)
    return [len(ids) for ids in rows["input_ids"]]


def training_tokens(config: RunConfig, lengths: list[int], padded: bool = True) -> int:
    """Tokens of the whole training, from the tokens of each conversation; with `padded` all that are computed.

    Unpacked, every row of a batch is then as long as its longest, in multiples of `PAD_TO`. Packed rows are laid end to
    end by the trainer, so nothing is padded, however full they are.
    """
    lengths = [min(length, config.max_length) for length in lengths]
    size, epoch = config.per_device_train_batch_size, sum(lengths)
    rows = -(-epoch // config.max_length) if config.packing else len(lengths)
    if padded and not config.packing:
        ordered = sorted(lengths) if config.sort_by_length else random.Random(config.seed).sample(lengths, len(lengths))
        batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        epoch = sum(len(batch) * -(-max(batch) // PAD_TO) * PAD_TO for batch in batches)
    if config.max_steps <= 0:
        return int(epoch * config.num_train_epochs)
    a_step = min(size * config.gradient_accumulation_steps, rows)  # a step ends with the epoch, however large it may be
    return int(config.max_steps * a_step * epoch / rows)


def hours(tokens: int, pace: Speed) -> tuple[float, float]:
    """Shortest and longest training time in hours."""
    return tokens / pace.high / 3600, tokens / pace.low / 3600


def duration(tokens: int, pace: Speed) -> str:
    """The time as a range: "11 to 24 h"."""
    short, long = hours(tokens, pace)
    if long < 1:
        return _("{short} to {long} min").format(short=f"{short * 60:.1f}", long=f"{long * 60:.1f}")
    digits = 0 if long >= 10 else 1
    return _("{short} to {long} h").format(short=f"{short:.{digits}f}", long=f"{long:.{digits}f}")
