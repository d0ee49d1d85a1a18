"""Rows taken out of the training: a fork without them, and whether it became better."""

from __future__ import annotations

import hashlib

from helpers.compare.runs import read_run
from helpers.compare.suspects import RowLoss
from helpers.compare.table import paired
from helpers.data.split import leave_out, row_hash
from helpers.data.verdicts import prepare_again
from helpers.evaluate.intervals import told_gap
from helpers.paths import runs_root
from helpers.runs import RunDir, fork
from helpers.runs.identity import module_command
from helpers.show.clicks import telling
from helpers.show.notebook import is_interactive
from helpers.show.pictures import Playable
from helpers.show.tables import Table
from helpers.show.words import _


def without(old: str, rows: list[dict], name: str = "", **changes) -> RunDir:
    """The fork of `old` that does not learn from these conversations, ready for 04; made once.

    Its held-out rows are those of `old`, so the two can be compared row by row.
    """
    hashes = "".join(sorted(map(row_hash, rows)))
    name = name or f"{old}-without-{len(rows)}-{hashlib.sha256(hashes.encode()).hexdigest()[:6]}"
    run = RunDir(runs_root() / name)
    if not run.config_json.exists():
        run = fork(old, name, chosen=False, **changes)
    if not run.adapter.exists():
        leave_out(run, rows)
        prepare_again(run)
    return run


def gained(old: str, new: str) -> str:
    """Whether `new` is better than `old` on the rows that both held out, in a sentence."""
    before, after = (read_run(RunDir(runs_root() / name)) for name in (old, new))
    gap = paired(before, after)
    if "refused" in gap:
        return f"{new}: {gap['refused']}"
    sentence = _("{new} against {old}: {difference:+.3f} nats ({interval}): {verdict}.")
    values = {"difference": gap["difference"], "interval": told_gap(gap), "verdict": _(gap["verdict"])}
    return sentence.format(new=new, old=old, **values)


def tick_page(old: str, found: list[RowLoss], most: int = 6) -> Table | Playable:
    """The worst rows with a box each, and a button that makes the fork without those that were ticked."""
    still = Table([], caption=_("In JupyterLab the worst rows stand here, each with a box to tick."))
    return Playable(_widget(old, found[:most]), still) if is_interactive() else still


def _widget(old: str, found: list[RowLoss]):
    import ipywidgets

    wide = ipywidgets.Layout(width="95%")
    boxes = [
        ipywidgets.Checkbox(value=False, indent=False, layout=wide, description=f"{number}: {row.before}[{row.token}]")
        for number, row in enumerate(found)
    ]
    button = ipywidgets.Button(description=_("Take the ticked rows out"), layout=ipywidgets.Layout(width="auto"))
    told = ipywidgets.Label()

    def take_out(_button):
        rows = [row.row for row, box in zip(found, boxes, strict=True) if box.value]
        told.value = _("No row is ticked.")
        if rows:
            told.value = next_step(without(old, rows))

    button.on_click(telling(told, take_out))
    return ipywidgets.VBox([*boxes, button, told])


def next_step(run: RunDir) -> str:
    """The command that trains a run without a page."""
    command = f"QLORA_RUN_NAME={run.path.name} {module_command('helpers.series', run.stored_config().preset, '04')}"
    return _("{run} is ready to be trained: {command}").format(run=run.path.name, command=command)
