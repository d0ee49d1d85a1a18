"""The loss of a training, summed or row by row, and whether it is the model's own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import torch

from helpers.settings import LOSS_ROWS
from helpers.show.words import _

if TYPE_CHECKING:
    from datasets import Dataset

TOLERANCE = 0.05  # nats per token: logits rounded to 16 bits stay below, a forgotten soft cap or scale far above
TOKENS = 256  # of one row: the model's own loss keeps all logits in float32


class OtherLoss(ValueError):
    """The training would learn from another loss than the model has."""


class SumOfLosses(torch.autograd.Function):
    """Cross entropy of `logits` (tokens, vocabulary) and `targets` (tokens,), summed, nats; exact, in little memory.

    The gradient (softmax - 1 at the target) takes the place of the logits, `LOSS_ROWS` tokens at a time.
    """

    @staticmethod
    def forward(ctx, logits, targets):
        total = torch.zeros((), device=logits.device)
        for part, wanted in zip(logits.split(LOSS_ROWS), targets.split(LOSS_ROWS), strict=True):
            scores = part.float().log_softmax(-1)
            total -= scores.gather(1, wanted[:, None]).sum()
            if ctx.needs_input_grad[0]:
                part.copy_(scores.exp_().scatter_add_(1, wanted[:, None], scores.new_full((len(wanted), 1), -1.0)))
        ctx.gradient = logits
        return total

    @staticmethod
    def backward(ctx, of_total):
        gradient, ctx.gradient = ctx.gradient, None  # let go of it: the layers' gradients need the room
        return gradient.mul_(of_total), None


def token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy of `logits` (tokens, vocabulary) at each of `targets` (tokens,), nats, without a gradient."""
    parts = zip(logits.split(LOSS_ROWS), targets.split(LOSS_ROWS), strict=True)
    losses = [-part.float().log_softmax(-1).gather(1, wanted[:, None]) for part, wanted in parts]
    return torch.cat(losses).flatten() if losses else logits.new_zeros(0)


def places_of(inputs: dict) -> torch.Tensor:
    """Of each token of a batch the number of its row; of rows behind each other, one begins at 0."""
    ids = inputs["input_ids"]
    if "position_ids" in inputs:
        return (inputs["position_ids"] == 0).flatten().cumsum(0).view_as(ids) - 1
    return torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)


def by_row(inputs: dict, losses: torch.Tensor, labelled: torch.Tensor) -> dict[str, tuple[float, int]]:
    """A hash of each row's tokens -> its loss (nats, summed), its labelled tokens; with `losses` where `labelled`."""
    ids, places, rows = inputs["input_ids"], places_of(inputs), {}
    real = inputs.get("attention_mask", torch.ones_like(ids)).bool()
    for row in places[labelled].unique().tolist():
        key = hashlib.sha256(repr(ids[(places == row) & real].tolist()).encode()).hexdigest()[:16]
        own = losses[places[labelled] == row]
        rows[key] = (own.double().sum().item(), len(own))
    return rows


def require_same_loss(trainer: Any, rows: Dataset) -> float:
    """Compare the trainer's plain loss on the beginning of one row with the model's own; their difference.

    In nats per labelled token. `rows`: encoded (input_ids, labels). Raises OtherLoss when it is above `TOLERANCE`.
    """
    model, row = trainer.model, _with_labels(rows)
    inputs = {name: torch.tensor([row[name]], device=model.device) for name in ("input_ids", "labels")}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    training, wanted = model.training, (trainer.args.loss_type, trainer.label_smoother, trainer.compute_loss_func)
    model.eval()
    trainer.args.loss_type, trainer.label_smoother, trainer.compute_loss_func = "nll", None, None
    try:
        with torch.no_grad(), trainer.compute_loss_context_manager():
            own = model(**inputs, use_cache=False).loss.item()
            used = trainer.compute_loss(model, dict(inputs)).item()
    finally:
        trainer.args.loss_type, trainer.label_smoother, trainer.compute_loss_func = wanted
        model.train(training)
    if not abs(used - own) <= TOLERANCE:  # also when one of them is not a number
        sentence = _(
            "The trainer's loss on one row is {used:.3f}, the model's own is {own:.3f}: the fused loss of this TRL "
            "does not know how the architecture {kind!r} makes its logits. Take another base model, or train this one "
            "on a CPU."
        )
        raise OtherLoss(sentence.format(used=used, own=own, kind=model.config.model_type))
    return abs(used - own)


def _with_labels(rows: Dataset) -> dict:
    """The part of at most `TOKENS` tokens, of one of the first rows, with the most labels."""
    parts = []
    for row in cast(Any, rows.select(range(min(len(rows), 16)))):
        for start in range(0, len(row["input_ids"]), TOKENS):
            parts.append({name: row[name][start : start + TOKENS] for name in ("input_ids", "labels")})
    return max(parts, key=lambda part: sum(label != -100 for label in part["labels"][1:]))
