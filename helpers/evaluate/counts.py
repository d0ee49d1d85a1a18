"""What passed and what did not, model against model on the same rows: counts, rows won and lost, McNemar's test."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from helpers.evaluate.intervals import (
    ALPHA,
    BETTER,
    FEW,
    FEWEST,
    SAME,
    TOO_FEW,
    UNCLEAR,
    WORSE,
    share,
    sign_test,
    told_interval,
    wilson_interval,
)  # fmt: skip
from helpers.show.words import _

PAIRS = (("base", "adapter"), ("adapter", "merged"))


@dataclass(frozen=True)
class Change:
    """`model` against `against` on the same rows: the numbers of the rows that it won, and of those that it lost."""

    model: str
    against: str
    won: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    verdict: str = UNCLEAR

    def to_json(self) -> dict:
        return asdict(self)

    @property
    def told(self) -> str:
        """Counts and verdict in words."""
        counts = _("{won} won, {lost} lost").format(won=len(self.won), lost=len(self.lost))
        return f"{counts}: {_(self.verdict)}"


def changes(passed: dict[str, list[bool]], verdicts: int = 1) -> list[Change]:
    """One `Change` for each of PAIRS that was measured; `passed` by model, its rows in one order."""
    made = []
    for against, model in PAIRS:
        if model in passed and against in passed:
            pairs = list(zip(passed[against], passed[model], strict=True))
            won = [i for i, (before, after) in enumerate(pairs) if after and not before]
            lost = [i for i, (before, after) in enumerate(pairs) if before and not after]
            made.append(Change(model, against, won, lost, judge_counts(len(won), len(lost), len(pairs), verdicts)))
    return made


def judge_counts(won: int, lost: int, rows: int, verdicts: int = 1) -> str:
    """What may be said of `rows` pairs, `won` and `lost` of which came out differently (McNemar, exact)."""
    if rows < FEWEST:
        return TOO_FEW
    if sign_test(won, lost) <= ALPHA / verdicts:
        return BETTER if won > lost else WORSE
    return SAME if not won and not lost and rows >= FEW else UNCLEAR


def told_count(passed: int, rows: int) -> str:
    """A count with the interval of its share."""
    return f"{share(passed, rows)} ({told_interval(*wilson_interval(passed, rows), '.0%')})"
