"""What passed and what did not, model against model on the same rows: rows won and lost, McNemar's test."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.evaluate.intervals import ALPHA, BETTER, FEW, FEWEST, SAME, TOO_FEW, UNCLEAR, WORSE
from helpers.evaluate.signs import sign_test
from helpers.show.words import N_, _

PAIRS = (("base", "adapter"), ("adapter", "merged"))


def changes(passed: dict[str, list[bool]], verdicts: int = 1, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[dict]:
    """For each of `pairs` that was measured the numbers of the rows that `model` `won` and `lost`, and the `verdict`.

    `passed`: row by row, by model.
    """
    made = []
    for against, model in pairs:
        if model in passed and against in passed:
            rows = list(zip(passed[against], passed[model], strict=True))
            won = [i for i, (before, after) in enumerate(rows) if after and not before]
            lost = [i for i, (before, after) in enumerate(rows) if before and not after]
            verdict = judge_counts(len(won), len(lost), len(rows), verdicts)
            made.append({"model": model, "against": against, "won": won, "lost": lost, "verdict": verdict})
    return made


def change_of(changed: list[dict], model: str) -> dict:
    """What `model` won and lost against the model before it; {} where that was not measured."""
    return next((change for change in changed if change["model"] == model), {})


def rows_of(change: dict, most: int | None = None) -> list[tuple[str, int]]:
    """ "lost" or "won" and the number of the row: those that were lost first, at most so many of each."""
    return [(_(word), row) for word in (N_("lost"), N_("won")) for row in change.get(word, ())[:most]]


def judge_counts(won: int, lost: int, rows: int, verdicts: int = 1) -> str:
    """What may be said of `rows` pairs, `won` and `lost` of which came out differently (McNemar, exact)."""
    if rows < FEWEST:
        return TOO_FEW
    if sign_test(won, lost) <= ALPHA / verdicts:
        return BETTER if won > lost else WORSE
    return SAME if not won and not lost and rows >= FEW else UNCLEAR
