"""report.html: the whole run on one page that needs nothing else, and the archive of what is worth keeping."""

from __future__ import annotations

import zipfile
from pathlib import Path

from helpers.evaluate.comparison import sample_strip, side_by_side
from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.forgetting import forgetting_table, won_and_lost
from helpers.evaluate.known import known_table
from helpers.evaluate.measured import measured_table
from helpers.evaluate.numbers import better_table, numbers_table
from helpers.evaluate.passed import checks_table, checks_told
from helpers.evaluate.served import Served, served_table
from helpers.files import folder_bytes, read_json, read_jsonl, write_atomic
from helpers.runs import RunDir
from helpers.runs.paid import cost, paid_seconds
from helpers.show.pages import render_page
from helpers.show.pictures import curve
from helpers.show.tables import Table
from helpers.show.units import human_bytes, human_time
from helpers.show.words import _

SIGNS = {"green": ("good", "✓"), "red": ("bad", "✗")}  # a colour never stands alone


def write_report(run: RunDir, xray=None) -> Path:
    """Write report.html from the run's own files, and `xray` (data.xray.XRay) of one row; everything in it is escaped.

    Raises FileNotFoundError when 05 or 06 has not written its part.
    """
    run.require(run.merge_report, produced_by="05_merge_and_push.ipynb")
    run.require(run.evaluation, run.comparisons, produced_by="06_evaluation.ipynb")
    config, merge, served = read_json(run.config_json), read_json(run.merge_report), Served.read(run)
    metrics = read_jsonl(run.metrics) if run.metrics.exists() else []
    compared = [(row["kind"], side_by_side(row)) for row in read_jsonl(run.comparisons)]
    values = {
        "title": config["run_name"],
        "config": config,
        "curve": curve(metrics) if metrics else "",
        "samples": sample_strip(run) if run.samples.exists() else None,
        "xray": xray,
        "merge": merge,
        "verdict": _(merge["verdict"]),
        "sign": SIGNS.get(merge["verdict"], ("wait", "?")),
        "measured": measured_table(merge),
        "served": served and served_table(served),
        "served_checks": checks_table(served.checks(), {}) if served and served.checks() else None,
        "compared": [row for _kind, row in compared],
        "first": next((row for kind, row in compared if kind == "held-out"), None),
        "cost": _cost(run, config, metrics),
        "settings": Table([{"setting": key, "value": str(value)} for key, value in config.items()]),
    }
    page = render_page("report.html.j2", **values, **_measured(Evaluation.read(run)))
    write_atomic(run.report_html, page)
    return run.report_html


def _measured(evaluation: Evaluation) -> dict:
    """What the template shows of evaluation.json; an older one lacks parts."""
    lost, known = evaluation.forgetting, evaluation.known
    return {
        "evaluation": evaluation,
        "numbers": numbers_table(evaluation.models),
        "better": better_table(evaluation.paired),
        "checks": checks_table(evaluation.checks, evaluation.check_changes) if evaluation.checks else None,
        "checks_told": [*checks_told(evaluation.checks), *filter(None, [evaluation.stale_checks])],
        "forgetting": forgetting_table(lost) if lost else None,
        "won_and_lost": won_and_lost(evaluation.paired, lost, known) if lost else "",
        "known": known_table(known) if known else None,
        "versions": Table([{"package": key, "version": value} for key, value in evaluation.versions.items()]),
    }


def _cost(run: RunDir, config: dict, metrics: list[dict]) -> Table:
    """Time, money and bytes, as far as the run has written them down."""
    facts, amounts = metrics[-1] if metrics else {}, {}
    if "tokens" in facts:
        paid = _("the setting price_per_hour is 0")
        if price := config.get("price_per_hour"):
            spent = f"{cost(facts, price, config.get('gpus', 0)):.2f}"
            paid = _("{spent}, at {price} an hour").format(spent=spent, price=f"{price:g}")
        amounts = {
            _("training time"): human_time(paid_seconds(facts)),
            _("tokens read"): f"{facts['tokens']:,}",
            _("most memory used"): human_bytes(facts["peak_memory_bytes"]),
            _("device"): facts["device"],
            _("price of the training time"): paid,
        }
    for path in filter(Path.exists, (run.adapter, run.merged)):
        amounts[_("{name} on the disk").format(name=path.name)] = human_bytes(folder_bytes(path))
    return Table([{"what": what, "amount": amount} for what, amount in amounts.items()])


def pack(run: RunDir) -> Path:
    """One zip beside the run's files with what cannot be made again cheaply: no base weights, no checkpoints.

    Labs that were solved in another run of the same folder are in it, too, as labs/RUN/.
    """
    keep = [
        run.config_json, run.data_report, run.metrics, run.held_out, run.merge_report, run.evaluation, run.comparisons,
        run.votes, run.report_html, run.served,
        *sorted(run.adapter.iterdir()), *sorted(run.path.parent.glob(f"*/{run.labs.name}/*.json")),
    ]  # fmt: skip
    archive = run.path / f"{run.path.name}-keep.zip"
    part = archive.with_name(f".{archive.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
        for path in filter(Path.is_file, keep):
            own = path.is_relative_to(run.path)
            name = path.relative_to(run.path) if own else Path(run.labs.name, path.parts[-3], path.name)
            file.write(path, name)
    part.replace(archive)
    return archive
