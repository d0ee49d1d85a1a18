"""report.html: the whole run on one page that needs nothing else, and the archive of what is worth keeping."""

from __future__ import annotations

import html
import zipfile
from pathlib import Path

from helpers.evaluate.comparison import better_table, comparison_table, numbers_table
from helpers.evaluate.forgetting import forgetting_table, won_and_lost
from helpers.evaluate.measured import measured_table
from helpers.evaluate.skills import skill_table
from helpers.files import folder_bytes, read_json, read_jsonl, write_atomic
from helpers.runs import RunDir
from helpers.show.pages import document
from helpers.show.pictures import curve
from helpers.show.tables import Table
from helpers.show.units import human_bytes, human_time

STYLE = """
table { margin: .5rem 0; font-size: 15px } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
dl.columns { margin: 0 0 1rem; font-size: 14px; color: var(--soft) } dl.columns div { margin: .1rem 12px } dl.columns dt { display: inline; font-weight: 600 } dl.columns dd { display: inline; margin: 0 0 0 .4em }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 8px; margin: 0 0 1.5rem } .cards > * { border: 1px solid var(--line); border-radius: 6px; padding: 6px 12px; white-space: pre-wrap; overflow-wrap: anywhere }
.asked { margin: 0 0 .4rem; white-space: pre-wrap; font-weight: 600 } summary { cursor: pointer }
"""
SIGNS = {"green": ("good", "✓"), "red": ("bad", "✗"), "unclear": ("wait", "?")}  # a colour never stands alone
COLUMNS = {
    "model": "base: as it was before; adapter: with the training; merged: the training written into the weights.",
    "NLL": "how surprised the model is by the right answer, in nats per token; lower is better.",
    "95 % interval": "where that number would lie with other conversations of this kind, 95 times in 100.",
    "perplexity": "e to the power of the NLL: between so many tokens the model hesitates.",
    "chrF": "how many letters a reply shares with the reference answer, 0 to 100.",
    "stops": "replies that ended by themselves, and were not cut off.",
    "repeats": "share of a reply that it has already said.",
    "tokens": "mean length of a reply.",
    "ended inside the thought": "replies that were cut off before the answer began.",
    "number": "what is compared.",
    "difference": "the first model minus the second, on the same rows.",
    "interval": "where that difference would lie with other rows.",
    "rows": "how many rows both answered.",
    "verdict": "better or worse only where the whole interval says so.",
    "text": "the language of the general texts, which have nothing to do with the training.",
    "texts": "how many of them.",
    "KL": "how far the model's choices are from the base model's, in nats per token; 0 is the same.",
    "KL to adapter": "how far the model's choices are from the adapter's, in nats per token; 0 is the same.",
    "same first choice": "how often both would write the same next token.",
    "replies that stop": "replies that ended by themselves.",
    "one polite sentence": "the reply is one sentence in polite Korean, before its last line.",
    "label line": "the reply ends with a line 핵심어: and a word.",
    "a word of the question": "that word stands in the question.",
    "the known keyword": "it is the word of the reference answer.",
    "해요체": "the reply is in polite, spoken Korean.",
    "no casual word": "no word of casual speech is left in it.",
    "the same sentence": "it says what was asked to be said, not an answer to it.",
    "as the reference": "it is the reference answer, letter by letter.",
    "what": "what was spent or made.",
    "amount": "how much of it.",
    "setting": "its name in helpers/settings.py, where each is explained.",
    "value": "what it was in this run.",
    "package": "a library that took part.",
    "version": "its release.",
}


def write_report(run: RunDir, xray=None) -> Path:
    """Write report.html from the run's own files, and `xray` (data.xray.XRay) of one row; everything in it is escaped.

    Raises FileNotFoundError when 05 or 06 has not written its part.
    """
    run.require(run.merge_report, produced_by="05_merge_and_push.ipynb")
    run.require(run.evaluation, run.comparisons, produced_by="06_evaluation.ipynb")
    config = read_json(run.config_json)
    report = read_json(run.merge_report)
    evaluation = read_json(run.evaluation)
    metrics = read_jsonl(run.metrics) if run.metrics.exists() else []
    kind, sign = SIGNS[report["verdict"]]
    compared, explained = comparison_table(read_jsonl(run.comparisons)), _Explained()
    parts = [
        f"<h1>{html.escape(config['run_name'])}</h1>",
        f"<p>A language model, {html.escape(config['model_id'])}, was trained further on {html.escape(config['dataset_id'])}, with 4-bit QLoRA. "
        f"This page shows what it learned, what it lost and what that cost. {html.escape(evaluation['created'])}</p>",
        "<h2>Training</h2>" + curve(metrics) if metrics else "",
        f"<h2>What it learns from</h2><p>One row, token by token. Only the green, underlined tokens are learned; the rest is read.</p>{xray._repr_html_()}"
        if xray
        else "",
        "<h2>Is it better?</h2>",
        explained.table(numbers_table(evaluation["models"])),
        explained.table(better_table(evaluation["paired"])),
        "<h2>The skill</h2>" + explained.table(skill_table(evaluation["skill"])) if "skill" in evaluation else "",
        *_forgetting(evaluation, explained),
        "<h2>Merge report</h2>",
        f'<p><b class="{kind}">{sign} {report["verdict"]}</b>: {html.escape(report["verdict_reason"])} Chosen: {html.escape(report["chosen"])}.</p>',
        explained.table(measured_table(report)),
        "<h2>Replies, side by side</h2>",
        f"<p>{html.escape(evaluation['decoding'])}. An ellipsis (…) ends a reply that was cut off.</p>",
        *_cards(compared.rows, "asked"),
        "<h2>Cost</h2>" + explained.table(_cost(run, config, metrics)),
        "<details><summary>Settings and versions</summary>",
        explained.table(Table([{"setting": key, "value": str(value)} for key, value in config.items()])),
        explained.table(Table([{"package": key, "version": value} for key, value in evaluation["versions"].items()])),
        "</details>",
    ]
    write_atomic(run.report_html, document(config["run_name"], f"<main>{''.join(parts)}</main>", STYLE))
    return run.report_html


class _Explained:
    """Tables of one page; below each, a sentence for every column that the page has not explained before."""

    def __init__(self):
        self.seen = set()

    def table(self, table: Table) -> str:
        """The table in a box of its own that scrolls, so that the page itself fits a phone."""
        new = [name for name in table._names() if name in COLUMNS and name not in self.seen]
        self.seen.update(new)
        told = "".join(f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(COLUMNS[name])}</dd></div>" for name in new)
        columns = f'<dl class="columns">{told}</dl>' if new else ""
        return f'<div class="wide" tabindex="0">{table._repr_html_()}</div>{columns}'


def _cards(rows: list[dict], question: str) -> list[str]:
    """Each question with its replies beside each other; on a phone, one below the other."""
    return [
        f'<p class="asked">{html.escape(row[question])}</p><div class="cards">'
        + "".join(
            f"<div><b>{html.escape(name)}</b>\n{html.escape(said) or '(nothing)'}</div>"
            for name, said in row.items()
            if name != question
        )
        + "</div>"
        for row in rows
    ]


def _forgetting(evaluation: dict, explained: _Explained) -> list[str]:
    """What was won and lost; nothing for an evaluation that is older than this."""
    if "forgetting" not in evaluation:
        return []
    said = html.escape(won_and_lost(evaluation["paired"], evaluation["forgetting"]))
    general = "".join(_cards(evaluation["general"], "question"))
    return [
        f"<h2>What was won, what was lost</h2><p>{said}</p>",
        explained.table(forgetting_table(evaluation["forgetting"])),
        f"<details><summary>The {len(evaluation['general'])} general questions and their replies</summary>{general}</details>",
    ]


def _cost(run: RunDir, config: dict, metrics: list[dict]) -> Table:
    """Time, money and bytes, as far as the run has written them down."""
    facts, rows = (metrics or [{}])[-1], []
    if "tokens" in facts:
        rows.append(("training time", human_time(facts["elapsed_s"])))
        rows.append(("tokens read", f"{facts['tokens']:,}"))
        rows.append(("most memory used", human_bytes(facts["peak_memory_bytes"])))
        rows.append(("device", facts["device"]))
        price = config.get("price_per_hour") or 0
        told = (
            f"{price * facts['elapsed_s'] / 3600:.2f}, at {price:g} an hour"
            if price
            else "the setting price_per_hour is 0"
        )
        rows.append(("price of the training time", told))
    rows += [
        (f"{path.name} on the disk", human_bytes(folder_bytes(path)))
        for path in (run.adapter, run.merged)
        if path.exists()
    ]
    return Table([{"what": what, "amount": amount} for what, amount in rows])


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
