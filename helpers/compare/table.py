"""Runs beside each other, best first: paired tests on the rows that both held out, a table, and their curves."""

from __future__ import annotations

import math
from collections import Counter

from helpers.compare.runs import Trial, differing
from helpers.evaluate.intervals import FEWEST, MARGINS, NLL, STATES, judged_difference, share, told_gap, told_interval
from helpers.evaluate.rivals import row_means
from helpers.fields import Stage
from helpers.settings import RULES, names_of
from helpers.show.pictures import Picture, chart
from helpers.show.tables import GREY, Table
from helpers.show.units import human_bytes, human_time
from helpers.show.words import _

OURS = {
    *("run", "state", "NLL", "95 % interval", "against the best", "verdict", "stops", "forgotten", "known answers"),
    *("time", "memory", "cost", *RULES),
}
LABELLED = 10  # curves with a colour and a name; the others are grey


def best_first(trials: list[Trial]) -> list[Trial]:
    """Lowest held-out NLL first; first those of the largest group that held out the same rows, unmeasured ones last.

    NLL of different rows, or by different tokens, are numbers of different things.
    """
    groups = Counter(frozenset(trial.rows) for trial in trials if trial.rows)
    order = {rows: place for place, (rows, _count) in enumerate(groups.most_common())}

    def key(trial: Trial):
        nll = math.inf if trial.nll is None else trial.nll
        return (trial.nll is None, order.get(frozenset(trial.rows), len(order)), nll, trial.name)

    return sorted(trials, key=key)


def paired(best: Trial, other: Trial, verdicts: int = 1) -> dict:
    """`other` - `best` on the rows that both held out, as `judged_difference`; else {"refused": sentence}."""
    if reason := untested(best, other):
        return {"refused": reason}
    (first, second), tokens = row_means([best.rows], [other.rows])
    return judged_difference(first, second, tokens, verdicts)


def untested(best: Trial, other: Trial) -> str:
    """Why there is no test of `other` against `best`, in a sentence; "" where there is one."""
    if not other.rows and other.nll is not None:
        return _("no test: 06 measured it, without single rows (04's training cell writes held_out.json)")
    if not other.rows:
        return _("no test: not measured yet (04's training cell writes held_out.json)")
    both = [row for row in best.rows if row in other.rows]
    if len(both) >= FEWEST and all(best.rows[row][1] == other.rows[row][1] for row in both):
        return ""
    reason = _("no test: {count} of {rows} rows held out by both").format(count=len(both), rows=len(other.rows))
    shaping = names_of(Stage.DATA, Stage.LABELS)
    if changed := [name for name in best.config.differences(other.config) if name in shaping]:
        reason += _(", since these differ: {names}").format(names=", ".join(changed))
    return reason


def against_best(trials: list[Trial]) -> dict[str, dict]:
    """`paired` of every run with the best one, by name; each verdict has its share of the 5 %."""
    ranked = best_first(trials)
    if not ranked or not ranked[0].rows:
        return {}
    best, others = ranked[0], ranked[1:]
    tests = sum(not untested(best, other) for other in others)
    return {other.name: paired(best, other, max(tests, 1)) for other in others}


def runs_table(trials: list[Trial]) -> Table:
    """One row a run, best first: what was measured, then the settings that differ; no column that nobody fills."""
    ranked, gaps = best_first(trials), against_best(trials)
    evaluated = [trial.evaluation for trial in ranked if trial.evaluation]
    checks = tuple(dict.fromkeys(name for evaluation in evaluated for name in evaluation.checks))
    alike = len({evaluation.decoding for evaluation in evaluated}) < 2
    settings, rows, filled = differing(trials), [], set()
    for trial in ranked:
        row = _loss(trial, gaps) | _replies(trial, alike)
        row |= {_column(name): _passed(trial, name) for name in checks}
        # a setting that is True or False is no verdict: it is shown as a word of Python
        row |= {name: str(getattr(trial.config, name)) for name in settings}
        row["time"] = None if trial.seconds is None else human_time(trial.seconds)
        row["memory"] = None if trial.memory is None else human_bytes(trial.memory)
        row["cost"] = trial.cost
        rows.append(row)
        filled |= {name for name, value in row.items() if value is not None}
    caption = _("NLL: nats per token on the held-out rows, of the adapter. {states} Margin: {margin}.")
    caption = caption.format(states=_(STATES), margin=f"{MARGINS[NLL]:g}")
    rows = [{name: value for name, value in row.items() if name in filled} for row in rows]
    return Table(rows, caption=caption, foreign=(*map(_column, checks), *settings))


def _column(check: str) -> str:
    """Where the counts of somebody's check stand: a check may be called as a column or a setting is."""
    return f"{check}()" if check in OURS else check


def _loss(trial: Trial, gaps: dict[str, dict]) -> dict:
    """The run, its NLL, and what came out against the best."""
    gap, state = gaps.get(trial.name, {}), trial.state
    if trial.step is not None:
        state = _("{state}, step {step}").format(state=state, step=trial.step)
    row: dict[str, str | None] = {"run": trial.name, "state": state, "NLL": None, "95 % interval": None}
    if trial.nll is not None:
        row |= {"NLL": f"{trial.nll:.3f}", "95 % interval": told_interval(*trial.interval, form=".3f")}
    if "verdict" in gap:
        against = _("{difference:+.3f} ({interval}, {rows} rows)").format(interval=told_gap(gap), **gap)
        return row | {"against the best": against, "verdict": _(gap["verdict"])}
    best = trial.rows and not gap
    return row | {"against the best": gap.get("refused", ""), "verdict": _("the best") if best else ""}


def _replies(trial: Trial, alike: bool) -> dict:
    """Of 06: replies of the adapter that end by themselves (and how they were made, where that is not `alike` in all
    runs), and NLL on general text, adapter - base: more is more forgotten."""
    row: dict[str, str | None] = dict.fromkeys(("stops", "forgotten", "known answers"))
    if not trial.evaluation or not trial.adapter:
        return row
    how = "" if alike else f"; {trial.evaluation.how or _('asked in an unknown way')}"
    row["stops"] = share(trial.adapter["stops"] * trial.adapter["replies"], trial.adapter["replies"]) + how
    if gap := trial.evaluation.forgetting.get("adapter"):
        row["forgotten"] = f"{gap['difference']:+.3f} ({told_gap(gap)})"
    if known := trial.evaluation.known:
        row["known answers"] = share(known["models"]["adapter"]["passed"], known["of"])
    return row


def _passed(trial: Trial, check: str) -> str | None:
    """How many replies of the adapter pass a check."""
    counted = trial.evaluation.checks.get(check, {}) if trial.evaluation else {}
    return share(counted["adapter"], counted["of"]) if "adapter" in counted else None


def curves_chart(trials: list[Trial]) -> Picture:
    """Held-out loss over the steps of every run; the best ten have a colour and a name.

    A star is the checkpoint in use. The axis leaves out the loss before step 1, which would push all else together.
    """
    figure, axes = chart(8, 3.6)
    ranked = [(trial, [point for point in trial.curve if math.isfinite(point[1])]) for trial in best_first(trials)]
    curves = [(trial, curve) for trial, curve in ranked if curve]
    for place, (trial, curve) in reversed(list(enumerate(curves))):
        if place >= LABELLED:
            axes.plot(*zip(*curve, strict=True), color=GREY, alpha=0.4)
            continue
        axes.plot(*zip(*curve, strict=True), color=f"C{place}", marker="o", markersize=3, label=trial.name)
        if trial.step in dict(curve):
            axes.plot([trial.step], [dict(curve)[trial.step]], marker="*", markersize=11, color=f"C{place}")
    losses = [loss for _trial, curve in curves for step, loss in curve if step]
    if losses:
        space = 0.1 * (max(losses) - min(losses)) or 0.1
        axes.set_ylim(min(losses) - space, max(losses) + space)
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1])
    axes.set(xlabel=_("optimizer step"), ylabel=_("held-out loss (nats per token)"))
    axes.set_title(_("a star marks the checkpoint in use"))
    names = ", ".join(trial.name for trial, _curve in curves) or _("no run yet")
    return Picture(figure, _("Held-out loss over the steps of {runs}").format(runs=names))
