"""What passed, for a reader: the table of the checks, the part that was new, the rows that were won and lost."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.evaluate.checks import Fault
from helpers.evaluate.comparison import common_order, order_told, side_by_side
from helpers.evaluate.counts import change_of, rows_of
from helpers.evaluate.intervals import told_count
from helpers.show.tables import Table
from helpers.show.words import _


def checks_told(counts: dict[str, dict], faults: Sequence[Fault] = ()) -> list[str]:
    """What a reader must know about the checks themselves, in sentences."""
    every, none = [], []
    for name, counted in counts.items():
        passed = {count for model, count in counted.items() if model not in ("of", "baseline")}
        if passed == {0}:
            none.append(name)
        elif passed == {counted["of"]}:
            every.append(name)
    all_pass = _("{check}: every model passes it on every row, so it measures nothing here.")
    none_passes = _("{check}: no model passes it on any row, so it measures nothing here.")
    told = [text.format(check=", ".join(names)) for text, names in ((all_pass, every), (none_passes, none)) if names]
    failed = _("{check} failed itself on {count} replies, first on row {row} of {model}: {error}. Not passed.")
    for name in dict.fromkeys(fault.check for fault in faults):
        own = [fault for fault in faults if fault.check == name]
        told.append(failed.format(count=len(own), **vars(own[0])))
    return told


def strictest(passed: dict[str, dict[str, list[bool]]], model: str = "adapter") -> str:
    """The check that `model`, and then all of them, pass on the fewest rows: there is most to see."""
    return min(passed, key=lambda name: (sum(passed[name][model]), sum(map(sum, passed[name].values()))))


def by_source(passed: dict[str, list[bool]], sources: list[str]) -> Table:
    """How often each model passes one check, apart for each `source` of the rows; one line where they have none."""
    rows = []
    for source in sorted(set(sources)):
        kept = [i for i, own in enumerate(sources) if own == source]
        counts = {model: told_count(sum(right[i] for i in kept), len(kept)) for model, right in passed.items()}
        rows.append({"source": source, **counts})
    return Table(rows, foreign=tuple(passed))


def checks_table(counts: dict[str, dict], changed: dict[str, list[dict]]) -> Table:
    """One row a check: how many replies of each model pass, with intervals, and what was won and lost."""
    rows = []
    for name, counted in counts.items():
        row = {model: told_count(passed, counted["of"]) for model, passed in counted.items() if model != "of"}
        for change in changed.get(name, ()):
            numbers = _("{won} won, {lost} lost").format(won=len(change["won"]), lost=len(change["lost"]))
            told = f"{numbers}: {_(change['verdict'])}" if change["won"] or change["lost"] else _("none changed")
            row[f"{change['model']} − {change['against']}"] = told
        rows.append({"check": name} | row)
    caption = _("Replies that pass, with the 95 % interval of the share.")
    if changed:
        caption = _("Replies that pass, with the 95 % interval of the share; rows won and lost by McNemar's test.")
    return Table(rows, caption=caption, foreign=tuple(rows[0])[1:] if rows else ())


def won_and_lost_rows(changed: list[dict], rows: list[dict], model: str = "adapter", most: int = 6) -> Table:
    """The rows of comparisons.jsonl (held-out ones) that `model` won or lost in one check, side by side."""
    change = change_of(changed, model)
    chosen = [(what, rows[i]) for what, i in rows_of(change, most // 2)]
    order = common_order([row for _what, row in chosen])
    return Table([{"": what, **side_by_side(row, order)} for what, row in chosen], caption=order_told(order))
