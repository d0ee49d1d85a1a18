"""Is the trainer's loss the model's own? Some architectures change their logits after the head, which a fused loss may not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.show.words import _

if TYPE_CHECKING:
    from datasets import Dataset

    from helpers.train.trainer import LeanTrainer

TOLERANCE = 0.05  # nats per token: logits rounded to 16 bits stay below, a forgotten soft cap or scale far above
TOKENS = 256  # of one row: the model's own loss keeps all logits in float32


class OtherLoss(ValueError):
    """The training would learn from another loss than the model has."""


def require_same_loss(trainer: LeanTrainer, rows: Dataset) -> float:
    """Compare the trainer's plain loss on the beginning of one row with the model's own `labels=` loss; their difference.

    In nats per labelled token. `rows`: encoded (input_ids, labels). Raises OtherLoss when it is above `TOLERANCE`.
    """
    import torch

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
            "The trainer's loss on one row is {used:.3f}, the model's own is {own:.3f}: the fused loss of this TRL does not "
            "know how the architecture {kind!r} makes its logits. Take another base model, or train this one on a CPU."
        )
        raise OtherLoss(sentence.format(used=used, own=own, kind=model.config.model_type))
    return abs(used - own)


def _with_labels(rows: Dataset) -> dict:
    """The part of at most `TOKENS` tokens, of one of the first rows, with the most labels."""
    parts = []
    for row in rows.select(range(min(len(rows), 16))):
        for start in range(0, len(row["input_ids"]), TOKENS):
            parts.append({name: row[name][start : start + TOKENS] for name in ("input_ids", "labels")})
    return max(parts, key=lambda part: sum(label != -100 for label in part["labels"][1:]))
