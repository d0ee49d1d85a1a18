"""The loss of every row, token by token: where is a model most surprised, and what would it have said instead?"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.evaluate.held_out import answer_batches, finite


@dataclass(frozen=True)
class Surprise:
    """One row under a model: the loss of each learned token (nats), and where it is largest."""

    nll: list[float]
    place: int  # of the most surprising token, in input_ids
    token: int  # that stands there
    instead: int  # that the model holds for most likely
    chance: float  # that it gives that one

    @property
    def mean(self) -> float:
        """Nats per token."""
        return sum(self.nll) / len(self.nll)


def surprises(model, dataset, progress: str = "", batch_size: int = 8) -> list[Surprise]:
    """Every row of `dataset` (columns input_ids, labels) under `model`. Raises ValueError as `held_out_nll`."""
    found: list = [None] * len(dataset)
    labels = dataset["labels"]
    for row, logits, targets in answer_batches(model, dataset, batch_size, progress):
        chances = logits.float().log_softmax(-1)
        nll = -chances.gather(1, targets[:, None])[:, 0]
        finite("NLL", row, nll.sum().item())
        worst = int(nll.argmax())
        learned = [place for place, label in enumerate(labels[row]) if label != -100 and place]
        best, instead = chances[worst].max(-1)
        numbers = (learned[worst], int(targets[worst]), int(instead), best.exp().item())
        found[row] = Surprise(nll.tolist(), *numbers)
    return found
