"""The facts that the gate weighs: each is a difference or a count, judged at its share of the 5 % of all of them.

Doing harm has to be proven at a share of the 5 % (Bonferroni; gate.py shares it out), so that a model without any is
stopped once in twenty times at most. What was asked for has to be proven as well, all of it, so each by a 95 % interval
of its own (the intersection-union test; Berger, Technometrics 24, 1982): a model that lacks one of them is passed once
in forty. Every sentence says how small an effect would have been seen (power.py; meant: 4 times in 5; 75 to 84 % in
`proofs/proof_power.py`). `proofs/proof_gate.py` counts the errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from helpers.evaluate import intervals
from helpers.evaluate.intervals import BETTER, MARGINS, NLL, SAME, TOO_FEW, UNCLEAR, WORSE, judge, wilson_interval
from helpers.evaluate.numbers import CUT
from helpers.evaluate.power import MOST, at_level, has_interval, rows_needed, rows_told, seeds_needed, smallest
from helpers.show.words import _

SHIP, STOP, UNDECIDED = 0, 1, 2


@dataclass(frozen=True)
class Reason:
    """One fact of the gate, and what follows from it alone."""

    code: int
    sentence: str


def verdict_of(gap: dict, number: str, facts: int) -> str:
    """The verdict at that level; an older file's own where it has no interval."""
    return judge(at_level(gap, facts), number) if has_interval(gap) else gap["verdict"]


def harm(gap: dict, what: str, number: str, facts: int) -> Reason:
    """A difference that must not be a loss: only a proven one stops."""
    if gap.get("verdict") == CUT:
        return Reason(UNDECIDED, f"{what}: {_(CUT)}.")
    verdict = verdict_of(gap, number, facts)
    if verdict == WORSE:
        return Reason(STOP, _("{what}: worse.").format(what=what))
    if verdict == TOO_FEW and "level" in gap:
        return Reason(UNDECIDED, _("{what}: too few rows.").format(what=what))
    return Reason(SHIP, _("{what}: no loss is proven.").format(what=what) + smallest(gap, number, facts))


def gain(gap: dict, what: str, facts: int, seeds: list[float]) -> Reason:
    """A difference that has to be a gain: over rows and, where there are `seeds` (one difference each), over them."""
    if verdict_of(gap, NLL, facts) == WORSE:
        return Reason(STOP, _("{what}: worse.").format(what=what))
    if verdict_of(gap, NLL, 1) != BETTER:
        return Reason(UNDECIDED, _("{what}: no gain is proven.").format(what=what) + rows_needed(gap, NLL, 1))
    told = _("{what}: {difference:+.3f} nats, a proven gain.").format(what=what, difference=gap["difference"])
    told += smallest(gap, NLL, 1) + " "
    if len(seeds) < 2:
        return Reason(SHIP, told + _("One seed: the luck of the training is not in it."))
    if not all(map(math.isfinite, seeds)):
        broken = _("But of {seeds} seeds not every held-out loss is a number: a training broke down.")
        return Reason(UNDECIDED, told + broken.format(seeds=len(seeds)))
    _low, high = intervals.mean_interval(seeds)
    if high < -MARGINS[NLL]:
        return Reason(SHIP, told + _("So do {seeds} seeds say.").format(seeds=len(seeds)))
    return Reason(UNDECIDED, told + seeds_needed(seeds))


def rival(gap: dict, alone: dict, what: str, facts: int) -> Reason:
    """Another run: `gap` is the difference to it at its share, `alone` the same at 95 %; it decides with seeds only."""
    verdict = verdict_of(alone, NLL, 1) if has_interval(alone) else TOO_FEW
    if verdict == WORSE and verdict_of(gap, NLL, facts) != WORSE:
        verdict = UNCLEAR
    told = _("{what}: {difference:+.3f} nats, {verdict}.")
    told = told.format(what=what, difference=gap["difference"], verdict=_(verdict))
    code = {BETTER: SHIP, SAME: SHIP, WORSE: STOP}.get(verdict, UNDECIDED)
    if gap["seeds"] < 2:
        luck = _("One seed of each: it may be luck. Train both with `seeds=[1, 2, 3]` (08).")
        return Reason(SHIP if verdict == SAME else UNDECIDED, f"{told} {luck}")
    return Reason(code, told + (rows_needed(gap, NLL, facts) if code == UNDECIDED else smallest(gap, NLL, facts)))


def required(checks: dict[str, dict], model: str, check: tuple[str, str, float], facts: int) -> Reason:
    """A check with a threshold. It holds where its 95 % interval does; it fails where the one at this level does."""
    name, sign, share = check
    measured = {one: counted for one, counted in checks.items() if model in counted and counted.get("of")}
    if name not in measured:
        sentence = _("{check} was not measured on the {model} model: set `checks` and run 06.")
        if measured:
            sentence = _(
                "{check} is no check that was measured on the {model} model: write one of {checks}, or add it to the "
                "file of `checks` and run 06."
            )
        return Reason(UNDECIDED, sentence.format(check=name, model=model, checks=", ".join(measured)))
    counted = measured[name]
    passed, of = counted[model], counted["of"]
    code, told = _holds(passed, of, check, facts), f"{model}: {name} {sign} {share:g}"
    told = f"{told}: {intervals.told_count(passed, of)}"
    sentences = {SHIP: _("{told}: holds."), STOP: _("{told}: does not hold.")}
    if code in sentences:
        return Reason(code, sentences[code].format(told=told))
    sizes = (round(of * 1.1**i) for i in range(1, 100))
    rows = next((rows for rows in sizes if _holds(passed / of * rows, rows, check, facts) != UNDECIDED), MOST)
    if rows == MOST:
        sentence = _("{told}: no number of rows would tell, so near is the threshold: choose one that is less strict.")
        return Reason(UNDECIDED, sentence.format(told=told))
    return Reason(UNDECIDED, _("{told}: so few rows cannot tell.").format(told=told) + rows_told(rows))


def _holds(passed: float, of: int, check: tuple[str, str, float], facts: int) -> int:
    """SHIP where the 95 % interval is beyond the threshold, STOP where the one at this level misses it."""
    _name, sign, share = check
    (low, high), (lowest, highest) = wilson_interval(passed, of), wilson_interval(passed, of, facts)
    holds, fails = (low >= share, highest < share) if sign == ">=" else (high <= share, lowest > share)
    return SHIP if holds else STOP if fails else UNDECIDED
