"""The other seeds of a run, and another run beside it: the luck of the training in the comparison of two."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from helpers.evaluate.intervals import ALPHA, paired_difference, t_quantile
from helpers.fields import Stage
from helpers.files import read_json
from helpers.runs import RunDir
from helpers.settings import RECORDED, names_of

LUCK = {"run_name", "preset", "training_seed", *RECORDED, *names_of(Stage.PLAN, Stage.PUSH, Stage.FREE)}


def against(run: RunDir, other: RunDir, facts: int) -> dict:
    """`run` - `other`, each the mean of its seeds, on the rows that all held out, with the luck of the trainings.

    Raises FileNotFoundError before 04, NothingMeasured where no row is common.
    """
    ones, twos = ([_by_row(one) for one in same_setting(side)] for side in (other, run))
    return difference(ones, twos, [[nll_of(rows) for rows in side] for side in (ones, twos)], facts)


def difference(ones: list[dict], twos: list[dict], seeds: list[list[float]], facts: int) -> dict:
    """`twos` - `ones`, trainings of two settings (row -> nats, tokens), as a `paired_difference` of their row means.

    `seeds`: the NLLs of each setting, one a seed; where there are several, their spread is in the interval, too, and
    `luck` is the standard error that it gives the difference, with its degrees of `freedom`.
    """
    (one, two), tokens = row_means(ones, twos)
    gap = {**paired_difference(one, two, tokens, facts), "seeds": max(map(len, seeds))}
    freedom = sum(len(group) - 1 for group in seeds)
    if not freedom or gap["low"] is None:
        return gap
    squares = sum((len(group) - 1) * statistics.variance(group) for group in seeds if len(group) > 1)
    luck = math.sqrt(squares / freedom * (1 / len(ones) + 1 / len(twos)))
    low, high = (gap["difference"] - gap["low"], gap["high"] - gap["difference"])
    low, high = (math.hypot(half, t_quantile(freedom, ALPHA / facts) * luck) for half in (low, high))
    ends = {"low": gap["difference"] - low, "high": gap["difference"] + high}
    return {**gap, **ends, "luck": luck, "freedom": freedom}


def row_means(*groups: Sequence[dict]) -> tuple[list[list[float]], list[int]]:
    """Of the rows that all trainings (row -> nats, tokens) held out by the same tokens: each group's means; tokens."""
    first, every = groups[0][0], [rows for group in groups for rows in group]
    both = [row for row in first if all(row in rows and rows[row][1] == first[row][1] for rows in every)]
    means = [[statistics.fmean(rows[row][0] for rows in group) for row in both] for group in groups]
    return means, [first[row][1] for row in both]


def seeds_of(run: RunDir) -> list[float]:
    """The held-out NLL of `run` and of its other seeds; [] before 04."""
    return [nll_of(_by_row(one)) for one in same_setting(run)] if run.held_out.exists() else []


def _by_row(run: RunDir) -> dict[str, tuple[float, int]]:
    run.require(run.held_out, produced_by="04_qlora_training.ipynb")
    found = read_json(run.held_out)
    return dict(zip(found["rows"], zip(found["nll"], found["tokens"], strict=True), strict=True))


def nll_of(rows: dict[str, tuple[float, int]]) -> float:
    """Nats per token of rows (row -> nats, tokens)."""
    return sum(nats for nats, _tokens in rows.values()) / sum(tokens for _nats, tokens in rows.values())


def same_setting(run: RunDir) -> list[RunDir]:
    """`run` and the trained runs beside it that differ from it in their training seed alone, one a seed."""
    config = run.stored_config()
    found = {config.luck: run}
    for folder in sorted(run.path.parent.glob("*/held_out.json")):
        other = RunDir(folder.parent)
        try:
            theirs = other.stored_config()
        except (ValueError, FileNotFoundError):  # of another version, or not a run
            continue
        alike = not config.differences(theirs).keys() - LUCK and learned(run) == learned(other)
        if alike and _by_row(other).keys() == _by_row(run).keys():
            found.setdefault(theirs.luck, other)
    return list(found.values())


def learned(run: RunDir) -> str:
    """The hash of the rows that a run learned from; "" before 03."""
    report = read_json(run.data_report) if run.data_report.exists() else {}
    return report.get("hashes", {}).get(run.train_jsonl.name, "")
