"""report.html: the whole run on one page that needs nothing else, and the archive of what is worth keeping."""

from __future__ import annotations

import html
import json
import zipfile
from pathlib import Path

from helpers.evaluate.comparison import better_table, comparison_table, numbers_table
from helpers.evaluate.forgetting import forgetting_table, won_and_lost
from helpers.evaluate.measured import measured_table
from helpers.evaluate.skills import skill_table
from helpers.files import read_jsonl, write_atomic
from helpers.picture import curve
from helpers.report import Table
from helpers.runs import RunDir

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --line: #d1d9e0; --head: #f6f8fa; --good: #1a7f37; --bad: #cf222e; --unclear: #a04100 }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --paper: #0d1117; --line: #3d444d; --head: #151b23; --good: #3fb950; --bad: #ff7b72; --unclear: #f0883e } }
body { font: 16px/1.6 system-ui, "Noto Sans KR", sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: var(--ink); background: var(--paper); overflow-wrap: break-word }
.wide { overflow-x: auto } .wide div[style*="12px;color"] { color: var(--ink) !important } table { border-collapse: collapse; margin: 1rem 0; font-size: 15px } svg { width: 100%; max-width: 760px; height: auto }
th, td { border-bottom: 1px solid var(--line) } th { background: var(--head) }
.green { color: var(--good) } .red { color: var(--bad) } .unclear { color: var(--unclear) }
"""


def write_report(run: RunDir) -> Path:
    """Write report.html from the run's own files; everything in it is escaped.

    Raises FileNotFoundError when 05 or 06 has not written its part.
    """
    run.require(run.merge_report, produced_by="05_merge_and_push.ipynb")
    run.require(run.evaluation, run.comparisons, produced_by="06_evaluation.ipynb")
    config = json.loads(run.config_json.read_text(encoding="utf-8"))
    report = json.loads(run.merge_report.read_text(encoding="utf-8"))
    evaluation = json.loads(run.evaluation.read_text(encoding="utf-8"))
    name = html.escape(config["run_name"])
    verdict = f'<b class="{report["verdict"]}">{report["verdict"]}</b>'
    parts = [
        f"<h1>{name}</h1>",
        f"<p>{html.escape(config['model_id'])}, trained on {html.escape(config['dataset_id'])}. {evaluation['created']}</p>",
        "<h2>Training</h2>" + curve(read_jsonl(run.metrics)) if run.metrics.exists() else "",
        "<h2>Is it better?</h2>",
        _wide(numbers_table(evaluation["models"])),
        _wide(better_table(evaluation["paired"])),
        _wide(skill_table(evaluation["skill"])) if "skill" in evaluation else "",
        *_forgetting(evaluation),
        "<h2>Merge report</h2>",
        f"<p>{verdict}: {html.escape(report['verdict_reason'])} Chosen: {html.escape(report['chosen'])}.</p>",
        _wide(measured_table(report)),
        "<h2>Replies, side by side</h2>",
        f"<p>{html.escape(evaluation['decoding'])}</p>",
        _wide(comparison_table(read_jsonl(run.comparisons))),
        "<h2>Settings</h2>",
        _wide(Table([{"setting": key, "value": str(value)} for key, value in config.items()])),
        "<h2>Versions</h2>",
        _wide(Table([{"package": key, "version": value} for key, value in evaluation["versions"].items()])),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title><style>{STYLE}</style>'
    write_atomic(
        run.report_html, f'<!doctype html><html lang="ko"><head>{head}</head><body>{"".join(parts)}</body></html>\n'
    )
    return run.report_html


def _wide(table: Table) -> str:
    """A table that scrolls inside its own box, so that the page itself fits a phone."""
    return f'<div class="wide" tabindex="0">{table._repr_html_()}</div>'


def _forgetting(evaluation: dict) -> list[str]:
    """What was won and lost; nothing for an evaluation that is older than this."""
    if "forgetting" not in evaluation:
        return []
    said = html.escape(won_and_lost(evaluation["paired"], evaluation["forgetting"]))
    tables = [forgetting_table(evaluation["forgetting"]), Table(evaluation["general"], caption="General questions")]
    return ["<h2>What was won, what was lost</h2>", f"<p>{said}</p>", *(_wide(table) for table in tables)]


def pack(run: RunDir) -> Path:
    """One zip beside the run's files with what cannot be made again cheaply: no base weights, no checkpoints."""
    keep = [
        run.config_json, run.data_report, run.metrics, run.held_out, run.merge_report, run.evaluation, run.comparisons, run.votes, run.report_html,
        *sorted(run.adapter.iterdir()),
    ]  # fmt: skip
    archive = run.path / f"{run.path.name}-keep.zip"
    part = archive.with_name(f".{archive.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
        for path in keep:
            if path.is_file():
                file.write(path, path.relative_to(run.path))
    part.replace(archive)
    return archive
