"""Luck: runs that differ in their seed alone are one setting, with mean and spread beside the interval over rows."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import asdict

from helpers.compare.runs import ALONE, Trial, differing
from helpers.evaluate.intervals import (
    BETTER,
    FEWEST,
    UNCLEAR,
    WORSE,
    judge,
    mean_interval,
    paired_difference,
    told_interval,
)
from helpers.show.tables import Table
from helpers.show.words import _

LUCK = "training_seed"


def same_but_for_luck(trials: list[Trial]) -> list[list[Trial]]:
    """The runs in groups of one setting each, in their order."""
    groups = defaultdict(list)
    for trial in trials:
        settings = asdict(trial.config)
        groups[repr([value for name, value in settings.items() if name not in (*ALONE, LUCK)])].append(trial)
    return list(groups.values())


def repeated(trials: list[Trial]) -> list[list[Trial]]:
    """The settings that were trained with several seeds, best mean first: of each its measured runs, one a seed."""
    groups = []
    for group in same_but_for_luck([trial for trial in trials if trial.rows]):
        runs = list({trial.config.luck: trial for trial in group}.values())
        if len(runs) > 1:
            groups.append(runs)
    return sorted(groups, key=_mean)


def _mean(group: list[Trial]) -> float:
    return statistics.fmean(trial.nll for trial in group)


def seed_gap(best: list[Trial], other: list[Trial], tests: int = 1) -> dict:
    """`other` - `best`: over rows (each the mean of its seeds) and over seeds; the `verdict` needs both.

    Over seeds it is the t interval of the differences seed by seed, of the seeds that both have. {} where the two
    have no FEWEST rows in common, or fewer than two seeds.
    """
    rows = [row for row in best[0].rows if all(row in trial.rows for trial in [*best, *other])]
    seeds = {trial.config.luck: trial for trial in best}
    pairs = [(seeds[trial.config.luck], trial) for trial in other if trial.config.luck in seeds]
    tokens = [best[0].rows[row][1] for row in rows]
    alike = all([trial.rows[row][1] for row in rows] == tokens for trial in [*best, *other])
    if len(rows) < FEWEST or len(pairs) < 2 or not alike:
        return {}
    nats = [[statistics.fmean(trial.rows[row][0] for trial in group) for row in rows] for group in (best, other)]
    gap = paired_difference(*nats, tokens, tests)
    low, high = mean_interval([second.nll - first.nll for first, second in pairs], tests)
    over_seeds = judge({"low": low, "high": high, "rows": FEWEST})
    verdict = judge(gap)
    if over_seeds != verdict:
        verdict = UNCLEAR
    return {**gap, "seeds": len(pairs), "seeds_low": low, "seeds_high": high, "verdict": verdict}


def seeds_table(trials: list[Trial]) -> Table:
    """One row a setting that was trained with several seeds: mean, spread, and its distance to the best."""
    groups = repeated(trials)
    names = [name for name in differing([group[0] for group in groups]) if name != LUCK]
    rows = []
    for group in groups:
        values = [trial.nll for trial in group]
        gap = seed_gap(groups[0], group, len(groups) - 1) if group is not groups[0] else {}
        seeds = told_interval(gap["seeds_low"], gap["seeds_high"]) if gap else ""
        row = {name: getattr(group[0].config, name) for name in names} if names else {"run": group[0].name}
        row |= {"seeds": len(group), "mean NLL": f"{statistics.fmean(values):.3f}"}
        row |= {
            "spread": f"{statistics.stdev(values):.3f}",
            "lowest": f"{min(values):.3f}",
            "highest": f"{max(values):.3f}",
        }
        row |= {"over rows": told_interval(gap["low"], gap["high"]) if gap else "", "over seeds": seeds}
        rows.append({**row, "verdict": _(gap["verdict"]) if gap else ""})
    caption = _(
        "Spread: standard deviation over seeds. Over rows and over seeds: intervals of the difference to the best mean."
    )
    return Table(rows, caption=caption if rows else _("No setting was trained with several seeds."))


def proven_over_seeds(trials: list[Trial]) -> list[str]:
    """What may be said of settings, luck included, in sentences; [] where no two were trained with several seeds."""
    groups = repeated(trials)
    if len(groups) < 2:
        return []
    told, best = [], groups[0]
    sentences = {
        WORSE: _("{best} is better than {other}, over rows and over seeds: {seeds} seeds, {gap} nats."),
        BETTER: _("{other} is better than {best}, over rows and over seeds: {seeds} seeds, {gap} nats."),
        UNCLEAR: _("{best} and {other}: rows and seeds do not both prove a difference ({seeds} seeds, {gap} nats)."),
    }
    for other in groups[1:]:
        gap = seed_gap(best, other, len(groups) - 1)
        if gap:
            sentence = sentences.get(gap["verdict"], _("{other} is as good as {best}, over rows and over seeds."))
            values = {"best": best[0].name, "other": other[0].name, "seeds": gap["seeds"]}
            told.append(sentence.format(gap=f"{gap['difference']:+.3f}", **values))
    return told
