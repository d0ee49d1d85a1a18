"""The exercises of 09: rows taken out, a requirement, and how much is enough."""

from __future__ import annotations

from helpers.files import read_json
from helpers.runs import RunDir
from helpers.show.words import _
from helpers.workshop.nearby import report, runs_beside
from helpers.workshop.tasks import require, require_number


def rows_taken_out(run: RunDir, answer) -> str:
    """09.1: a run beside this one that learns from fewer rows."""
    lists = [read_json(other.left_out)["rows"] for other, _settings in runs_beside(run) if other.left_out.exists()]
    require(lists, _("No run here has a list of rows that were taken out: set TAKE_OUT in its cell, and run it."))
    return _("{rows} rows are on the list: 03 leaves them out, and says so.").format(rows=max(map(len, lists)))


def exit_code(run: RunDir, answer) -> str:
    """09.2: the exit code of the gate for a share that so few rows can hardly prove."""
    from helpers.evaluate.gate import decide

    report(run.evaluation, "06")
    code, _reasons = decide(run, "exact >= 0.99")
    hint = _("Set REQUIRE, run the cell, and read its first line.")
    require_number(answer, code, _("the exit code for exact >= 0.99"), hint)
    return _("{code}: a script that asks the gate knows what to do.").format(code=code)


def sizes_measured(run: RunDir, answer) -> str:
    """09.3: the same training on three numbers of rows at least."""
    from helpers.compare.enough import EPOCHS, STEPS, by_size

    sizes = max((by_size(run.path.name, same) for same in (STEPS, EPOCHS)), key=len)
    missing = _("{sizes} sizes are measured here; a curve needs three: set HOW_MUCH = True.")
    require(len(sizes) > 2, missing, sizes=len(sizes))
    return _("Measured on {sizes} rows.").format(sizes=", ".join(map(str, sizes)))
