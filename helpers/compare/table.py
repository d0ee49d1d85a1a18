"""Runs beside each other, best first: paired tests on the rows that both held out, a table, and their curves."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict

from helpers.compare.runs import Trial, differing
from helpers.evaluate.intervals import (
    FEWEST,
    MARGINS,
    NLL,
    STATES,
    judge,
    paired_difference,
    ratio_interval,
    share,
    told_gap,
    told_interval,
)  # fmt: skip
from helpers.fields import Stage
from helpers.settings import names_of
from helpers.show.pictures import Picture, chart
from helpers.show.tables import GREY, Table
from helpers.show.units import human_bytes, human_time
from helpers.show.words import _

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
    """`other` - `best` on the rows that both held out, as `paired_difference`, with a `verdict`; else {"refused":
    sentence}.
    """
    if reason := untested(best, other):
        return {"refused": reason}
    both = _in_both(best, other)
    sums = [[trial.rows[row][0] for row in both] for trial in (best, other)]
    gap = paired_difference(*sums, [best.rows[row][1] for row in both], verdicts)
    return {**gap, "verdict": judge(gap)}


def untested(best: Trial, other: Trial) -> str:
    """Why there is no test of `other` against `best`, in a sentence; "" where there is one."""
    if not other.rows and other.nll is not None:
        return _("no test: 06 measured it, without single rows (04's training cell writes held_out.json)")
    if not other.rows:
        return _("no test: not measured yet (04's training cell writes held_out.json)")
    both = _in_both(best, other)
    if len(both) >= FEWEST and all(best.rows[row][1] == other.rows[row][1] for row in both):
        return ""
    reason = _("no test: {count} of {rows} rows held out by both").format(count=len(both), rows=len(other.rows))
    names = names_of(Stage.DATA, Stage.LABELS)
    changed = [name for name in names if getattr(best.config, name) != getattr(other.config, name)]
    return reason + (_(", since these differ: {names}").format(names=", ".join(changed)) if changed else "")


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
    """One row a run, best first: what was found, then the settings that differ; no column that nobody fills."""
    names, gaps, ranked = differing(trials), against_best(trials), best_first(trials)
    checks = list(dict.fromkeys(name for trial in ranked if trial.evaluation for name in trial.evaluation.checks))
    alike = len({trial.evaluation.decoding for trial in trials if trial.evaluation}) < 2
    rows = []
    for trial in ranked:
        settings = asdict(trial.config)
        row = {**_loss(trial, gaps), **_measured(trial, alike), **{name: _passed(trial, name) for name in checks}}
        # a setting that is True or False is no verdict: it is shown as a word of Python
        rows.append(row | {name: str(settings[name]) for name in names} | _spent(trial))
    filled = [name for name in (rows[0] if rows else ()) if any(row[name] is not None for row in rows)]
    caption = _("NLL: nats per token on the held-out rows, of the adapter. {states} Margin: {margin}.")
    caption = caption.format(states=_(STATES), margin=f"{MARGINS[NLL]:g}")
    return Table([{name: row[name] for name in filled} for row in rows], caption=caption, foreign=tuple(checks))


def _loss(trial: Trial, gaps: dict[str, dict]) -> dict:
    """The run, its NLL, and what was found against the best."""
    gap = gaps.get(trial.name, {})
    state = trial.state
    if trial.step is not None:
        state = _("{state}, step {step}").format(state=state, step=trial.step)
    row = {"run": trial.name, "state": state, "NLL": None, "95 % interval": None}
    if trial.nll is not None:
        row |= {"NLL": f"{trial.nll:.3f}", "95 % interval": told_interval(*_interval(trial), ".3f")}
    row["against the best"] = _against(gap)
    if "verdict" in gap:
        row["verdict"] = _(gap["verdict"])
    else:
        row["verdict"] = "" if gap or not trial.rows else _("the best")
    return row


def _against(gap: dict) -> str:
    if "difference" not in gap:
        return gap.get("refused", "")
    found = _("{difference} ({interval}, {rows} rows)")
    return found.format(difference=f"{gap['difference']:+.3f}", interval=told_gap(gap), rows=gap["rows"])


def _interval(trial: Trial) -> tuple:
    if trial.rows:
        return ratio_interval(*map(list, zip(*trial.rows.values(), strict=True)))
    return trial.adapter["nll_low"], trial.adapter["nll_high"]


def _measured(trial: Trial, alike: bool) -> dict:
    """Of 06: replies of the adapter that end by themselves (and how they were made, where that is not `alike` in all
    runs), and NLL on general text, adapter - base: more is more forgotten."""
    row = {"stops": None, "forgotten": None, "known answers": None}
    if not trial.evaluation or not trial.adapter:
        return row
    row["stops"] = share(trial.adapter["stops"] * trial.adapter["replies"], trial.adapter["replies"])
    if not alike:
        unknown = _("asked in an unknown way")
        row["stops"] += f"; {trial.evaluation.how or unknown}"
    gap, known = trial.evaluation.forgetting.get("adapter"), trial.evaluation.known
    if gap:
        row["forgotten"] = f"{gap['difference']:+.3f} ({told_gap(gap)})"
    if known:
        row["known answers"] = share(known["models"]["adapter"]["passed"], known["of"])
    return row


def _passed(trial: Trial, check: str) -> str | None:
    """How many replies of the adapter pass a check."""
    counted = trial.evaluation.checks.get(check, {}) if trial.evaluation else {}
    return share(counted["adapter"], counted["of"]) if "adapter" in counted else None


def _spent(trial: Trial) -> dict:
    return {
        "time": None if trial.seconds is None else human_time(trial.seconds),
        "memory": None if trial.memory is None else human_bytes(trial.memory),
        "cost": trial.cost,
    }


def curves_chart(trials: list[Trial]) -> Picture:
    """Held-out loss over the steps of every run; the best ten have a colour and a name, a star is the checkpoint in
    use.

    The axis ends a little above the highest loss of the first evaluation after step 0, which would push all else
    together.
    """
    figure, axes = chart(8, 3.6)
    shown = [trial for trial in best_first(trials) if any(math.isfinite(loss) for _step, loss in trial.curve)]
    for place, trial in reversed(list(enumerate(shown))):
        curve = [(step, loss) for step, loss in trial.curve if math.isfinite(loss)]
        style = {"color": GREY, "alpha": 0.4}
        if place < LABELLED:
            style = {"color": f"C{place}", "marker": "o", "markersize": 3, "label": trial.name}
        axes.plot(*zip(*curve, strict=True), **style)
        kept = dict(curve).get(trial.step)
        if place < LABELLED and kept is not None:
            axes.plot([trial.step], [kept], marker="*", markersize=11, color=f"C{place}")
    losses = [loss for trial in shown for step, loss in trial.curve if step and math.isfinite(loss)]
    if losses:
        space = 0.1 * (max(losses) - min(losses)) or 0.1
        axes.set_ylim(min(losses) - space, max(losses) + space)
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1])
    axes.set(xlabel=_("optimizer step"), ylabel=_("held-out loss (nats per token)"))
    axes.set_title(_("a star marks the checkpoint in use"))
    names = ", ".join(trial.name for trial in shown) or _("no run yet")
    return Picture(figure, _("Held-out loss over the steps of {runs}").format(runs=names))
