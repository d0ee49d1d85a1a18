"""Luck: how much of a difference is the choice of held-out rows, how much the seed, and what more of either buys."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from helpers.compare.runs import Trial
from helpers.evaluate.intervals import ALPHA, ratio_interval, t_quantile
from helpers.evaluate.rivals import row_means
from helpers.show.tables import Table
from helpers.show.words import _


@dataclass(frozen=True)
class Luck:
    """Standard errors (nats per token) of a setting's mean NLL: over held-out rows, over the seeds of the training."""

    rows: int
    seeds: int
    over_rows: float
    over_seeds: float

    def error(self, rows: float = 1, seeds: float = 1) -> float:
        """Both together, with so many times the rows and the seeds."""
        return math.hypot(self.over_rows / math.sqrt(rows), self.over_seeds / math.sqrt(seeds))

    @property
    def larger(self) -> str:
        return "rows" if self.over_rows > self.over_seeds else "seeds"


def luck(group: list[Trial]) -> Luck:
    """Of runs that differ in their seed alone (two at least), see `repeated`."""
    (nats,), tokens = row_means([trial.rows for trial in group])
    low, high = ratio_interval(nats, tokens)
    spread = statistics.stdev(trial.nll_of_rows for trial in group)
    if low is None:  # of a single row nobody knows how far others lie
        low, high = -math.inf, math.inf
    over_rows = (high - low) / 2 / t_quantile(max(len(tokens) - 1, 1), ALPHA)
    return Luck(len(tokens), len(group), over_rows, spread / math.sqrt(len(group)))


def luck_table(groups: list[list[Trial]]) -> Table:
    """One row a setting: both errors, which is larger, and the error with twice the rows or twice the seeds."""
    rows = []
    for found, group in ((luck(group), group) for group in groups):
        errors = {"± rows": found.over_rows, "± seeds": found.over_seeds, "± both": found.error()}
        errors |= {"twice the rows": found.error(rows=2), "twice the seeds": found.error(seeds=2)}
        cells = {"run": group[0].name, "seeds": found.seeds, "held-out rows": found.rows}
        rows.append(cells | {name: f"{error:.3f}" for name, error in errors.items()})
    caption = _("Standard errors of the mean NLL, nats per token.") if rows else _("No setting has two seeds yet.")
    return Table(rows, caption=caption)


def luck_told(found: Luck) -> str:
    """Which of the two is larger, and what that means for the next hour of work, in a sentence."""
    told = {
        "rows": _(
            "The held-out rows are the larger luck here ({rows:.3f} against {seeds:.3f}): hold out more of them."
        ),
        "seeds": _("The seeds are the larger luck here ({seeds:.3f} against {rows:.3f}): train with more of them."),
    }[found.larger].format(rows=found.over_rows, seeds=found.over_seeds)
    few = _("Of {seeds} seeds the spread itself is a rough guess.").format(seeds=found.seeds)
    return f"{told} {few}" if found.seeds < 5 else told
