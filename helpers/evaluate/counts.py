"""What passed and what did not, model against model on the same rows: rows won and lost, McNemar's test."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.evaluate.intervals import ALPHA, BETTER, FEW, FEWEST, SAME, TOO_FEW, UNCLEAR, WORSE
from helpers.evaluate.signs import sign_test
from helpers.show.words import _

PAIRS = (("base", "adapter"), ("adapter", "merged"))


def changes(passed: dict[str, list[bool]], verdicts: int = 1, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[dict]:
    """For each of `pairs` that was measured the numbers of the rows that `model` `won` and `lost`, and the `verdict`.

    `passed`: row by row, by model.
    """
    made = []
    for against, model in pairs:
        if model in passed and against in passed:
            gains = [int(after) - int(before) for before, after in zip(passed[against], passed[model], strict=True)]
            won = [i for i, gain in enumerate(gains) if gain > 0]
            lost = [i for i, gain in enumerate(gains) if gain < 0]
            verdict = judge_counts(len(won), len(lost), len(gains), verdicts)
            made.append({"model": model, "against": against, "won": won, "lost": lost, "verdict": verdict})
    return made


def change_of(changed: list[dict], model: str) -> dict:
    """What `model` won and lost against the model before it; {} where that was not measured."""
    return next((change for change in changed if change["model"] == model), {})


def told_change(change: dict) -> str:
    """Counts and verdict in words."""
    counts = _("{won} won, {lost} lost").format(won=len(change["won"]), lost=len(change["lost"]))
    return f"{counts}: {_(change['verdict'])}"


def judge_counts(won: int, lost: int, rows: int, verdicts: int = 1) -> str:
    """What may be said of `rows` pairs, `won` and `lost` of which came out differently (McNemar, exact)."""
    if rows < FEWEST:
        return TOO_FEW
    if sign_test(won, lost) <= ALPHA / verdicts:
        return BETTER if won > lost else WORSE
    return SAME if not won and not lost and rows >= FEW else UNCLEAR
