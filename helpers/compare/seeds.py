"""Luck: runs that differ in their seed alone are one setting, with mean and spread beside the interval over rows."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import asdict

from helpers.compare.runs import ALONE, Trial, differing
from helpers.compare.table import untested
from helpers.evaluate import intervals
from helpers.evaluate.intervals import BETTER, FEWEST, UNCLEAR, WORSE, judge, told_interval
from helpers.evaluate.rivals import row_means
from helpers.show.tables import Table
from helpers.show.words import _

LUCK = "training_seed"


def same_but_for_luck(trials: list[Trial]) -> list[list[Trial]]:
    """The runs in groups of one setting each, in their order."""
    groups = defaultdict(list)
    for trial in trials:
        alike = [value for name, value in asdict(trial.config).items() if name not in (*ALONE, LUCK)]
        groups[repr([trial.learned, *alike])].append(trial)
    return list(groups.values())


def repeated(trials: list[Trial]) -> list[list[Trial]]:
    """The settings that were trained with several seeds, best mean first: of each its measured runs, one a seed."""
    groups = same_but_for_luck([trial for trial in trials if trial.rows])
    seeds = [list({trial.config.luck: trial for trial in group}.values()) for group in groups]
    several = [runs for runs in seeds if len(runs) > 1]
    return sorted(several, key=lambda runs: statistics.fmean(trial.nll_of_rows for trial in runs))


def seed_gap(best: list[Trial], other: list[Trial], tests: int = 1) -> dict:
    """`other` - `best`: over rows (each the mean of its seeds) and over seeds; the `verdict` needs both.

    Over seeds it is the t interval of the differences seed by seed, of the seeds that both have. {} where the two
    have no FEWEST rows in common, or fewer than two seeds.
    """
    (before, after), tokens = row_means([trial.rows for trial in best], [trial.rows for trial in other])
    seeds = {trial.config.luck: trial.nll_of_rows for trial in best}
    gaps = [trial.nll_of_rows - seeds[trial.config.luck] for trial in other if trial.config.luck in seeds]
    if len(tokens) < FEWEST or len(gaps) < 2 or any(untested(best[0], trial) for trial in best + other):
        return {}
    gap = intervals.judged_difference(before, after, tokens, tests)
    low, high = intervals.mean_interval(gaps, tests)
    if judge({"low": low, "high": high, "rows": FEWEST}) != gap["verdict"]:
        gap["verdict"] = UNCLEAR
    return {**gap, "seeds": len(gaps), "seeds_low": low, "seeds_high": high}


def seeds_table(trials: list[Trial]) -> Table:
    """One row a setting that was trained with several seeds: mean, spread, and its distance to the best."""
    groups, rows = repeated(trials), []
    names = [name for name in differing([group[0] for group in groups]) if name != LUCK]
    for group in groups:
        row = {name: getattr(group[0].config, name) for name in names} or {"run": group[0].name}
        values = [trial.nll_of_rows for trial in group]
        numbers = {"mean NLL": statistics.fmean, "spread": statistics.stdev, "lowest": min, "highest": max}
        row |= {"seeds": len(group)} | {name: f"{number(values):.3f}" for name, number in numbers.items()}
        row |= {"over rows": "", "over seeds": "", "verdict": ""}
        if rows and (gap := seed_gap(groups[0], group, len(groups) - 1)):
            row["over rows"] = told_interval(gap["low"], gap["high"])
            row["over seeds"] = told_interval(gap["seeds_low"], gap["seeds_high"])
            row["verdict"] = _(gap["verdict"])
        rows.append(row)
    caption = _(
        "Spread: standard deviation over seeds. Over rows and over seeds: intervals of the difference to the best mean."
    )
    none = _("No setting was trained with several seeds.")
    return Table(rows, caption=caption if rows else none, foreign=tuple(names))


def proven_over_seeds(trials: list[Trial]) -> list[str]:
    """What may be said of settings, luck included, in sentences; [] where no two were trained with several seeds."""
    groups, proven = repeated(trials), []
    sentences = {
        WORSE: _("{best} is better than {other}, over rows and over seeds: {seeds} seeds, {gap} nats."),
        BETTER: _("{other} is better than {best}, over rows and over seeds: {seeds} seeds, {gap} nats."),
        UNCLEAR: _("{best} and {other}: rows and seeds do not both prove a difference ({seeds} seeds, {gap} nats)."),
    }
    for other in groups[1:]:
        if gap := seed_gap(groups[0], other, len(groups) - 1):
            sentence = sentences.get(gap["verdict"], _("{other} is as good as {best}, over rows and over seeds."))
            values = {"best": groups[0][0].name, "other": other[0].name, "seeds": gap["seeds"]}
            proven.append(sentence.format(gap=f"{gap['difference']:+.3f}", **values))
    return proven
