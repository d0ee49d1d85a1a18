"""What the numbers of several runs allow to say, in sentences, and what they do not."""

from __future__ import annotations

from helpers.compare.runs import Trial
from helpers.compare.seeds import proven_over_seeds, repeated
from helpers.compare.table import against_best, best_first
from helpers.evaluate.intervals import BETTER, SAME, UNCLEAR, WORSE, told_level
from helpers.show.words import N_, _

SENTENCES = {
    WORSE: N_("Proven: {best} is better than {others}."),
    SAME: N_("Proven: as good as {best}, within the margin: {others}."),
    BETTER: N_("Proven on the rows that both held out: better than {best}: {others}."),
    UNCLEAR: N_("Not proven, neither better nor worse than {best}: {others}. More held-out rows could tell."),
    "refused": N_("Not compared: {others}; the table says why."),
}


def proven(trials: list[Trial]) -> list[str]:
    """The sentences; of several seeds of one setting, what rows and seeds prove together."""
    gaps, sentences = against_best(trials), [f"{trial.name}: {trial.since}" for trial in trials if trial.since]
    if not gaps:
        return [*sentences, _("Fewer than two runs have measured held-out rows: there is nothing to compare.")]
    best = best_first(trials)[0].name
    for verdict, sentence in SENTENCES.items():
        others = [name for name, gap in gaps.items() if gap.get("verdict", "refused") == verdict]
        if others:
            sentences.append(_(sentence).format(best=best, others=", ".join(others)))
    if tests := sum("verdict" in gap for gap in gaps.values()):
        chosen = _(
            "{best} was chosen as the lowest of {runs} on these very rows: on new rows expect it a little worse than "
            "it looks."
        )
        sentences.append(told_level(tests) + " " + chosen.format(best=best, runs=tests + 1))
    if over_seeds := proven_over_seeds(trials):
        return sentences + over_seeds
    once = _("Each was trained once: how much another seed would move a run is not in these intervals.")
    several = _(
        "One setting was trained with several seeds: its spread stands in the table of seeds. Try another one so."
    )
    return [*sentences, several if repeated(trials) else once]
