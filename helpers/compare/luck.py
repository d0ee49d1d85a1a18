"""Luck: how much of a difference is the choice of held-out rows, how much the seed, and what more of either would
buy."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from helpers.compare.runs import Trial
from helpers.evaluate.intervals import ratio_interval, t_quantile
from helpers.show.tables import Table
from helpers.show.words import _


@dataclass(frozen=True)
class Luck:
    """Standard errors (nats per token) of a setting's mean NLL: over held-out rows, and over the seeds of the
    training."""

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
    """Of runs that differ in their seed alone (two at least), see `seeds.repeated`."""
    rows = [row for row in group[0].rows if all(row in trial.rows for trial in group)]
    tokens = [group[0].rows[row][1] for row in rows]
    nats = [statistics.fmean(trial.rows[row][0] for trial in group) for row in rows]
    low, high = ratio_interval(nats, tokens)
    spread = statistics.stdev(trial.nll_of_rows for trial in group)
    over_rows = (high - low) / 2 / t_quantile(max(len(rows) - 1, 1), 0.05)
    return Luck(len(rows), len(group), over_rows, spread / math.sqrt(len(group)))


def luck_table(groups: list[list[Trial]]) -> Table:
    """One row a setting: both errors, which is larger, and the error with twice the rows or twice the seeds."""
    rows = []
    for found, group in ((luck(group), group) for group in groups):
        cells = {"run": group[0].name, "seeds": found.seeds, "held-out rows": found.rows}
        cells |= {"± rows": f"{found.over_rows:.3f}", "± seeds": f"{found.over_seeds:.3f}"}
        cells |= {"± both": f"{found.error():.3f}", "twice the rows": f"{found.error(rows=2):.3f}"}
        rows.append(cells | {"twice the seeds": f"{found.error(seeds=2):.3f}"})
    caption = _("Standard errors of the mean NLL, nats per token.") if rows else _("No setting has two seeds yet.")
    return Table(rows, caption=caption)


def luck_told(found: Luck) -> str:
    """Which of the two is larger, and what that means for the next hour of work, in a sentence."""
    if found.larger == "rows":
        told = _("The held-out rows are the larger luck here ({rows:.3f} against {seeds:.3f}): hold out more of them.")
    else:
        told = _("The seeds are the larger luck here ({seeds:.3f} against {rows:.3f}): train with more of them.")
    few = " " + _("Of {seeds} seeds the spread itself is a rough guess.") if found.seeds < 5 else ""
    return told.format(rows=found.over_rows, seeds=found.over_seeds) + few.format(seeds=found.seeds)
