"""What the model card says of what was measured, as Markdown; everything in it that is not ours is escaped."""

from __future__ import annotations

import re

from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.intervals import share, told_count, told_interval
from helpers.evaluate.served import Served
from helpers.merge.report import MergeReport
from helpers.runs import RunDir


def escape(text: object) -> str:
    """`text` from strangers as plain Markdown: no markup, no HTML, one line."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", line)


def table(rows: list[dict]) -> str:
    """A table whose columns are the keys of the first row; a cell that a row lacks is empty."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(row.get(name, "") for name in rows[0]) + " |" for row in rows)])


def measured(report: MergeReport | None) -> str:
    """The models of the merge report, on how much, and its verdict."""
    if report is None:
        return "Nothing yet: the merge notebook writes the merge report."
    rows = []
    for name, row in report.measured.items():
        cells = {"model": escape(name), "NLL per token": f"{row['nll']:.3f}"}
        cells["95 % interval"] = told_interval(row["nll_low"], row["nll_high"], ".3f")
        cells["KL to adapter"] = f"{row['kl']:.4f}" if "kl" in row else ""
        cells["same first choice"] = f"{row['agreement']:.1%}" if "kl" in row else ""
        cells["replies that stop"] = share(row["stops"] * row["replies"], row["replies"]) if "stops" in row else ""
        rows.append(cells)
    counts, versions = report.counts, " ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        f"{table(rows)}\n\nOn {counts['rows']} held-out conversations, {counts['tokens']} answer tokens; "
        f"seed {report.seed}; {escape(versions)}.\n\nMerge: {escape(report.chosen)}. "
        f"The merge report is {report.verdict}: {escape(report.verdict_reason)}"
    )


def checked(run: RunDir) -> str:
    """The checks by model, with intervals, and those of the served files; "" where none was counted of this merge."""
    served, parts = Served.read(run), []
    counts = Evaluation.read(run) if run.evaluation.exists() else None
    if counts and counts.checks and counts.is_of_this_merge(run):
        parts.append(_counts(counts.checks))
    if served and served.checks():
        parts.append("In other programs (llama.cpp), on the same questions:\n\n" + _counts(served.checks()))
    if not parts:
        return ""
    told = "Held-out replies that pass, with the 95 % interval of their share; "
    told += "`baseline` answers by rules, without a model."
    return "\n\n".join([told, *parts])


def _counts(checks: dict[str, dict]) -> str:
    models = {model: None for counted in checks.values() for model in counted if model != "of"}
    rows = []
    for name, counted in checks.items():
        cells = {escape(model): told_count(counted[model], counted["of"]) for model in models if model in counted}
        rows.append({"check": escape(name), **cells})
    return table(rows)


def examples(report: MergeReport | None, what: str) -> str:
    """Held-out questions with the base model's reply and this one's, as the merge report's measurement heard them."""
    if report is None:
        return "No example replies: the merge notebook, which asks the models, was not run."
    lines = []
    for row in report.examples:
        asked, base, reply = (escape(row[key]) or "(nothing)" for key in ("prompt", "base", what))
        lines += [f"- **Asked:** {asked}  ", f"  **The base model:** {base}  ", f"  **This model:** {reply}  "]
    return "\n".join(lines)
