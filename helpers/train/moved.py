"""Did the adapter learn? Which share of its numbers moved since the checkpoint before the last, and is it one at all?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from helpers.show.verdict import Verdict
from helpers.show.words import _
from helpers.train.checkpoints import complete_checkpoints

WEIGHTS = "adapter_model.safetensors"
ENOUGH = 0.5  # share of the numbers; below it most updates are rounded away


@dataclass(frozen=True)
class Movement:
    """Between the steps `before` and `after`: the share of all numbers of A and B that are others, 0 to 1."""

    before: int
    after: int
    share: float

    @property
    def verdict(self) -> Verdict:
        return Verdict.GREEN if self.share >= ENOUGH else Verdict.AMBER

    def __str__(self) -> str:
        said = _("From step {before} to step {after}, {share:.0%} of the adapter's numbers moved ({verdict}).").format(
            before=self.before, after=self.after, share=self.share, verdict=self.verdict.word
        )
        if self.verdict is Verdict.GREEN:
            return said
        return said + " " + _("The others stood still: their updates are too small for their number format, or 0.")


def movement(folder: Path) -> Movement | None:
    """Of the two newest complete checkpoints of a trainer folder; None when there is only one."""
    complete = complete_checkpoints(folder)
    if len(complete) < 2:
        return None
    after, before = list(complete)[:2]
    new, old = _weights(complete[after]), _weights(complete[before])
    moved = sum((weight != old[name]).sum().item() for name, weight in new.items())
    return Movement(before, after, moved / sum(weight.numel() for weight in new.values()))


def nothing_learned(folder: Path) -> bool:
    """True when the adapter in `folder` adds exactly nothing to the base: every B (or magnitude of it) is zero."""
    added = [weight for name, weight in _weights(folder).items() if "lora_B" in name or "lora_embedding_B" in name]
    return bool(added) and not any(weight.count_nonzero() for weight in added)


def _weights(folder: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(folder / WEIGHTS)
