"""report.html: the whole run on one page that needs nothing else, and the archive of what is worth keeping."""

from __future__ import annotations

import zipfile
from pathlib import Path

from helpers.evaluate.comparison import side_by_side
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
from helpers.show.words import N_, _, heading

SIGNS = {"green": ("good", "✓"), "red": ("bad", "✗")}  # a colour never stands alone
COLUMNS = {
    "model": N_("base: as it was before; adapter: with the training; merged: the training written into the weights."),
    "NLL": N_("how surprised the model is by the right answer, in nats per token; lower is better."),
    "95 % interval": N_("where that number would lie with other conversations of this kind, 95 times in 100."),
    "perplexity": N_("e to the power of the NLL: between so many tokens the model hesitates."),
    "chrF": N_("how many letters a reply shares with the reference answer, 0 to 100."),
    "stops": N_("replies that ended by themselves, and were not cut off."),
    "repeats": N_("share of a reply that it has already said."),
    "tokens": N_("mean length of a reply."),
    "ended inside the thought": N_("replies that were cut off before the answer began."),
    "number": N_("what is compared."),
    "difference": N_("the first model minus the second, on the same rows."),
    "interval": N_("where that difference would lie with other rows."),
    "rows": N_("how many rows both answered."),
    "verdict": N_("better or worse only where the whole interval says so."),
    "text": N_("the language of the general texts, which have nothing to do with the training."),
    "texts": N_("how many of them."),
    "KL": N_("how far the model's choices are from the base model's, in nats per token; 0 is the same."),
    "KL to adapter": N_("how far the model's choices are from the adapter's, in nats per token; 0 is the same."),
    "same first choice": N_("how often both would write the same next token."),
    "replies that stop": N_("replies that ended by themselves."),
    "size": N_("bytes on the disk."),
    "NLL more": N_("how much more surprised the file is than the merged model; near 0 nothing is lost."),
    "same reply": N_("greedy replies that are, token by token, those of the merged model."),
    "check": N_("what a check of yours asks; the file that the setting `checks` names explains each."),
    "base": N_("replies of this model that pass, with the 95 % interval of their share."),
    "adapter": N_("the same, with the adapter."),
    "merged": N_("the same, with the adapter written into the weights."),
    "baseline": N_("answers by rules, without any model."),
    "adapter − base": N_("rows that the adapter won and lost, and what McNemar's test says of them."),
    "merged − adapter": N_("the same for the merged model against the adapter."),
    "right": N_("questions that were answered rightly, with the 95 % interval of their share."),
    "facts": N_("of these, questions about facts."),
    "arithmetic": N_("of these, sums."),
    "form": N_("of these, questions that ask for a form."),
    "nonsense": N_("of these, questions that have no answer."),
    "won": N_("right now, and wrong before."),
    "lost": N_("wrong now, and right before."),
    "what": N_("what was spent or made."),
    "amount": N_("how much of it."),
    "setting": N_("its name in helpers/settings.py, where each is explained."),
    "value": N_("what it was in this run."),
    "package": N_("a library that took part."),
    "version": N_("its release."),
}


def write_report(run: RunDir, xray=None) -> Path:
    """Write report.html from the run's own files, and `xray` (data.xray.XRay) of one row; everything in it is escaped.

    Raises FileNotFoundError when 05 or 06 has not written its part.
    """
    run.require(run.merge_report, produced_by="05_merge_and_push.ipynb")
    run.require(run.evaluation, run.comparisons, produced_by="06_evaluation.ipynb")
    config, merge, served = read_json(run.config_json), read_json(run.merge_report), Served.read(run)
    metrics = read_jsonl(run.metrics) if run.metrics.exists() else []
    summary = _(
        "A language model, {model}, was trained further on {dataset}, with 4-bit QLoRA. This page sums up what it "
        "learned, what it lost and what that cost."
    )
    values = {
        "title": config["run_name"],
        "summary": summary.format(model=config["model_id"], dataset=config["dataset_id"]),
        "curve": curve(metrics) if metrics else "",
        "xray": xray,
        "explain": _explainer(),
        "merge": merge,
        "verdict": _(merge["verdict"]),
        "sign": SIGNS.get(merge["verdict"], ("wait", "?")),
        "chosen": _("Chosen: {name}.").format(name=merge["chosen"]),
        "measured": measured_table(merge),
        "served": served and served_table(served),
        "served_checks": checks_table(served.checks(), {}) if served and served.checks() else None,
        "compared": [side_by_side(row) for row in read_jsonl(run.comparisons)],
        "cost": _cost(run, config, metrics),
        "settings": Table([{"setting": key, "value": str(value)} for key, value in config.items()]),
    }
    page = render_page("report.html.j2", **values, **_measured(Evaluation.read(run)))
    write_atomic(run.report_html, page)
    return run.report_html


def _measured(evaluation: Evaluation) -> dict:
    """What the template shows of evaluation.json; an older one lacks parts."""
    lost, known = evaluation.forgetting, evaluation.known
    versions = [{"package": key, "version": value} for key, value in evaluation.versions.items()]
    return {
        "created": evaluation.created,
        "how": evaluation.how,
        "numbers": numbers_table(evaluation.models),
        "better": better_table(evaluation.paired),
        "checks": checks_table(evaluation.checks, evaluation.check_changes) if evaluation.checks else None,
        "checks_told": [*checks_told(evaluation.checks), *filter(None, [evaluation.stale_checks])],
        "forgetting": forgetting_table(lost) if lost else None,
        "won_and_lost": won_and_lost(evaluation.paired, lost, known) if lost else "",
        "known": known_table(known) if known else None,
        "general": evaluation.general,
        "versions": Table(versions),
    }


def _explainer():
    """A function that gives of a table the columns that the page has not explained before: (name, sentence)."""
    left = dict(COLUMNS)

    def explain(table: Table) -> list[tuple[str, str]]:
        return [(heading(name), _(left.pop(name))) for name in table._names() if name in left]

    return explain


def _cost(run: RunDir, config: dict, metrics: list[dict]) -> Table:
    """Time, money and bytes, as far as the run has written them down."""
    facts, rows = metrics[-1] if metrics else {}, []
    if "tokens" in facts:
        paid = _("the setting price_per_hour is 0")
        if price := config.get("price_per_hour"):
            spent = f"{cost(facts, price, config.get('gpus', 0)):.2f}"
            paid = _("{spent}, at {price} an hour").format(spent=spent, price=f"{price:g}")
        rows = [
            {"what": _("training time"), "amount": human_time(paid_seconds(facts))},
            {"what": _("tokens read"), "amount": f"{facts['tokens']:,}"},
            {"what": _("most memory used"), "amount": human_bytes(facts["peak_memory_bytes"])},
            {"what": _("device"), "amount": facts["device"]},
            {"what": _("price of the training time"), "amount": paid},
        ]
    for path in filter(Path.exists, (run.adapter, run.merged)):
        name = _("{name} on the disk").format(name=path.name)
        rows.append({"what": name, "amount": human_bytes(folder_bytes(path))})
    return Table(rows)


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
        for path in keep:
            if path.is_file():
                own = path.is_relative_to(run.path)
                name = path.relative_to(run.path) if own else Path(run.labs.name, path.parts[-3], path.name)
                file.write(path, name)
    part.replace(archive)
    return archive
