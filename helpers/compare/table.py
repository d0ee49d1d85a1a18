"""Runs beside each other, best first: a table, their curves, paired tests on the rows that both held out, and what is proven."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from helpers.compare.runs import Trial, differing
from helpers.evaluate.intervals import (
    ALPHA,
    BETTER,
    FEWEST,
    MARGINS,
    SAME,
    STATES,
    WORSE,
    judge,
    paired_difference,
    ratio_interval,
    share,
    told_interval,
)
from helpers.fields import Stage
from helpers.settings import names_of
from helpers.show.tables import BLUE, GREY, Table
from helpers.show.units import human_bytes, human_time

LABELLED = 10  # curves with a colour and a name; the others are grey


def best_first(trials: list[Trial]) -> list[Trial]:
    """Lowest held-out NLL first; first those of the largest group that held out the same rows, unmeasured ones last.

    NLL of different rows, or by different tokens, are numbers of different things.
    """
    groups = Counter(frozenset(trial.rows) for trial in trials if trial.rows)
    order = {rows: place for place, (rows, _) in enumerate(groups.most_common())}

    def key(trial: Trial):
        measured = trial.nll is not None
        return (not measured, order.get(frozenset(trial.rows), len(order)), trial.nll if measured else 0, trial.name)

    return sorted(trials, key=key)


def paired(best: Trial, other: Trial, verdicts: int = 1) -> dict:
    """`other` - `best` on the rows that both held out, as `paired_difference`, with a `verdict`; else {"refused": sentence}."""
    if told := untested(best, other):
        return {"refused": told}
    both = _in_both(best, other)
    sums = [[trial.rows[row][0] for row in both] for trial in (best, other)]
    gap = paired_difference(*sums, [best.rows[row][1] for row in both], verdicts)
    return {**gap, "verdict": judge(gap)}


def untested(best: Trial, other: Trial) -> str:
    """Why there is no test of `other` against `best`, in a sentence; "" where there is one."""
    if not other.rows:
        what = "06 measured it, without single rows" if other.nll is not None else "not measured yet"
        return f"no test: {what} (04's training cell writes held_out.json)"
    both = _in_both(best, other)
    if len(both) < FEWEST or any(best.rows[row][1] != other.rows[row][1] for row in both):
        changed = [
            name
            for name in names_of(Stage.DATA, Stage.LABELS)
            if getattr(best.config, name) != getattr(other.config, name)
        ]
        told = f"no test: {len(both)} of {len(other.rows)} rows held out by both"
        return f"{told}{', since these differ: ' if changed else ''}{', '.join(changed)}"
    return ""


def _in_both(best: Trial, other: Trial) -> list[str]:
    """The rows that both held out."""
    return [row for row in best.rows if row in other.rows]


def against_best(trials: list[Trial]) -> dict[str, dict]:
    """`paired` of every run with the best one, by name; each verdict has its share of the 5 %."""
    ranked = best_first(trials)
    if not ranked or not ranked[0].rows:
        return {}
    best, others = ranked[0], ranked[1:]
    tests = sum(not untested(best, other) for other in others)
    return {other.name: paired(best, other, max(tests, 1)) for other in others}


def runs_table(trials: list[Trial]) -> Table:
    """One row a run, best first; of the settings only those that differ."""
    names, gaps, rows = differing(trials), against_best(trials), []
    asked = {trial.evaluation["decoding"] for trial in trials if "decoding" in trial.evaluation}
    for trial in best_first(trials):
        settings = asdict(trial.config)
        gap = gaps.get(trial.name, {})
        rows.append(
            {
                "run": trial.name,
                **{name: settings[name] for name in names},
                "state": trial.state if trial.step is None else f"{trial.state}, step {trial.step}",
                "NLL": None if trial.nll is None else f"{trial.nll:.3f}",
                "95 % interval": told_interval(*_interval(trial), ".3f") if trial.nll is not None else None,
                "against the best": _told(gap),
                "verdict": gap.get("verdict", "" if "refused" in gap or not trial.rows else "the best"),
                "stops": _stops(trial, alike=len(asked) < 2),
                "forgotten": _forgotten(trial),
                "time": None if trial.seconds is None else human_time(trial.seconds),
                "memory": None if trial.memory is None else human_bytes(trial.memory),
                "cost": trial.cost,
            }
        )
    empty = [name for name in (rows[0] if rows else ()) if all(row[name] is None for row in rows)]
    told = f"NLL: nats per token on the held-out rows, of the adapter. {STATES} Margin: {MARGINS['NLL per token']:g}."
    return Table([{k: v for k, v in row.items() if k not in empty} for row in rows], caption=told)


def curves(trials: list[Trial], axes) -> None:
    """Held-out loss over the steps of every run, into matplotlib `axes`; the best ten have a colour and a name."""
    shown = [trial for trial in best_first(trials) if trial.curve]
    for place, trial in enumerate(reversed(shown)):
        named = len(shown) - place <= LABELLED
        style = {"marker": "o", "markersize": 3, "label": trial.name} if named else {"color": GREY, "alpha": 0.4}
        axes.plot(*zip(*trial.curve, strict=True), **style)
        if trial.step is not None and named:
            kept = dict(trial.curve).get(trial.step)
            axes.plot([trial.step], [kept], marker="*", markersize=9, color=BLUE) if kept is not None else None
    axes.set(
        xlabel="optimizer step", ylabel="held-out loss (nats per token)", title="a star marks the checkpoint in use"
    )
    axes.legend(*(reversed(part) for part in axes.get_legend_handles_labels()), frameon=False) if shown else None
    axes.spines[["top", "right"]].set_visible(False)


def proven(trials: list[Trial]) -> list[str]:
    """What the numbers allow to say, in sentences, and what they do not."""
    gaps = against_best(trials)
    if not gaps:
        return ["Fewer than two runs have measured held-out rows: there is nothing to compare."]
    best, tested = best_first(trials)[0].name, {name: gap for name, gap in gaps.items() if "refused" not in gap}
    told = []
    sure = {
        WORSE: f"Proven: {best} is better than",
        SAME: f"Proven: as good as {best}, within the margin:",
        BETTER: f"Proven on the rows that both held out: better than {best}:",
    }
    for verdict, words in sure.items():
        if names := [name for name, gap in tested.items() if gap["verdict"] == verdict]:
            told.append(f"{words} {', '.join(names)}.")
    if names := [name for name, gap in tested.items() if gap["verdict"] not in sure]:
        told.append(
            f"Not proven, neither better nor worse than {best}: {', '.join(names)}. More held-out rows could tell."
        )
    if names := [name for name, gap in gaps.items() if "refused" in gap]:
        told.append(f"Not compared: {', '.join(names)}; the table says why.")
    if tested:
        level = 100 * (1 - ALPHA / len(tested))
        told.append(
            f"Each of the {len(tested)} intervals is one of {level:.4g} %, so that all hold in 95 % of such tables. {best} was "
            f"chosen as the lowest of {len(tested) + 1} on these very rows: on new rows expect it a little worse than it looks."
        )
        told.append("Each was trained once: how much another seed would move a run is not in these intervals.")
    return told


def _interval(trial: Trial) -> tuple:
    if trial.rows:
        return ratio_interval(*map(list, zip(*trial.rows.values(), strict=True)))
    adapter = trial.evaluation["models"]["adapter"]
    return adapter["nll_low"], adapter["nll_high"]


def _told(gap: dict) -> str:
    if "difference" not in gap:
        return gap.get("refused", "")
    return f"{gap['difference']:+.3f} ({told_interval(gap['low'], gap['high'])}, {gap['rows']} rows)"


def _stops(trial: Trial, alike: bool) -> str | None:
    """Replies of the adapter that end by themselves; with the way they were asked for where that is not `alike` in all runs."""
    adapter = trial.evaluation.get("models", {}).get("adapter")
    if not adapter:
        return None
    told = share(adapter["stops"] * adapter["replies"], adapter["replies"])
    return told if alike else f"{told}; {trial.evaluation.get('decoding', 'asked in an unknown way')}"


def _forgotten(trial: Trial) -> str | None:
    """NLL on general text, adapter - base, as 06 measured it; more is more forgotten."""
    gap = trial.evaluation.get("forgetting", {}).get("adapter")
    return f"{gap['difference']:+.3f} ({told_interval(gap['low'], gap['high'])})" if gap else None
