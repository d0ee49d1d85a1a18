"""What the numbers of several runs allow to say, in sentences, and what they do not."""

from __future__ import annotations

from helpers.compare.runs import Trial
from helpers.compare.seeds import proven_over_seeds, repeated
from helpers.compare.table import against_best, best_first
from helpers.evaluate.intervals import ALPHA, BETTER, SAME, WORSE
from helpers.show.words import N_, _

SURE = {
    WORSE: N_("Proven: {best} is better than {others}."),
    SAME: N_("Proven: as good as {best}, within the margin: {others}."),
    BETTER: N_("Proven on the rows that both held out: better than {best}: {others}."),
}


def proven(trials: list[Trial]) -> list[str]:
    """The sentences; of several seeds of one setting, what rows and seeds prove together."""
    gaps = against_best(trials)
    if not gaps:
        return [_("Fewer than two runs have measured held-out rows: there is nothing to compare.")]
    best = best_first(trials)[0].name
    tested = {name: gap["verdict"] for name, gap in gaps.items() if "refused" not in gap}
    told = []
    for verdict, sentence in SURE.items():
        told += _about([name for name, own in tested.items() if own == verdict], sentence, best)
    unsure = N_("Not proven, neither better nor worse than {best}: {others}. More held-out rows could tell.")
    told += _about([name for name, own in tested.items() if own not in SURE], unsure, best)
    refused = N_("Not compared: {others}; the table says why.")
    told += _about([name for name, gap in gaps.items() if "refused" in gap], refused, best)
    return told + (_caution(best, len(tested)) if tested else []) + _luck(trials)


def _about(names: list[str], sentence: str, best: str) -> list[str]:
    return [_(sentence).format(best=best, others=", ".join(names))] if names else []


def _caution(best: str, tests: int) -> list[str]:
    """What the choice of the best does to its number."""
    sentence = _(
        "Each of the {tests} intervals is one of {level} %, so that all hold in 95 % of such "
        "tables. {best} was chosen as the "
        "lowest of {runs} on these very rows: on new rows expect it a little worse than it looks."
    )
    level = f"{100 * (1 - ALPHA / tests):.4g}"
    return [sentence.format(tests=tests, level=level, best=best, runs=tests + 1)]


def _luck(trials: list[Trial]) -> list[str]:
    """What other seeds would do, where they were tried."""
    told = proven_over_seeds(trials)
    if told:
        return told
    if repeated(trials):
        return [
            _(
                "One setting was trained with several seeds: its spread stands in the table of seeds. "
                "Try another one so."
            )
        ]
    return [_("Each was trained once: how much another seed would move a run is not in these intervals.")]
