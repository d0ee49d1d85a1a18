"""Is the trainer's loss the model's own? Some architectures change their logits after the head, which a fused loss may not know."""

from __future__ import annotations

TOLERANCE = 0.05  # nats per token: logits rounded to 16 bits stay below, a forgotten soft cap or scale far above
TOKENS = 256  # of one row: the model's own loss keeps all logits in float32


def require_same_loss(trainer, rows) -> float:
    """Compare the trainer's loss on the beginning of one row with the model's own `labels=` loss; gives their difference.

    `rows`: encoded rows (input_ids, labels). The difference is in nats per labelled token.
    Raises ValueError when it is above `TOLERANCE`: the training would learn from another loss than the model has.
    """
    import torch

    model, row = trainer.model, _with_labels(rows)
    inputs = {name: torch.tensor([row[name]], device=model.device) for name in ("input_ids", "labels")}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    training = model.training
    model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        own = model(**inputs, use_cache=False).loss.item()
        used = trainer.compute_loss(model, dict(inputs)).item()
    model.train(training)
    if not abs(used - own) <= TOLERANCE:  # also when one of them is not a number
        kind = model.config.model_type
        raise ValueError(
            f"The trainer's loss on one row is {used:.3f}, the model's own is {own:.3f}: the fused loss of this TRL does not "
            f"know how the architecture {kind!r} makes its logits. Take another base model, or train this one on a CPU."
        )
    return abs(used - own)


def _with_labels(rows) -> dict:
    """The part of at most `TOKENS` tokens, of one of the first rows, with the most labels."""
    parts = []
    for row in rows.select(range(min(len(rows), 16))):
        for start in range(0, len(row["input_ids"]), TOKENS):
            parts.append({name: row[name][start : start + TOKENS] for name in ("input_ids", "labels")})
    return max(parts, key=lambda part: sum(label != -100 for label in part["labels"][1:]))
