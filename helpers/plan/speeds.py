"""Speeds that others published (speeds.json), of 2023 and 2024, by the share of a card's peak. Imports in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from helpers.files import read_json
from helpers.model.shapes import SHAPES
from helpers.plan.cards import gpu
from helpers.plan.memory import adapter_parameters
from helpers.plan.shape import Shape
from helpers.settings import PRESETS, RunConfig


@dataclass(frozen=True)
class PublishedSpeed:
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
