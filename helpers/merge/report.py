"""The merge report: what each way of merging did to this very model, which one is recommended, and by which rule."""

from __future__ import annotations

import datetime
import importlib.metadata
from pathlib import Path

from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import BETTER, FEWEST, MARGINS, WORSE, judge, paired_difference, told_interval
from helpers.evaluate.measured import VERDICTS
from helpers.files import sha256
from helpers.show.pictures import Picture
from helpers.show.tables import GREEN, GREY, ORANGE, RED

MARGIN = MARGINS["NLL per token"]
RULE = (
    f"The merge with the lower held-out NLL, when the interval of the difference between the two lies beyond {MARGIN} nats "
    "per token; otherwise the one nearer to the adapter (lower KL)."
)
VERDICT_RULE = (
    f"Green when the interval of (merged - adapter) ends below +{MARGIN} nats per token, so that nothing that matters was "
    f"lost; red when it begins above; unclear otherwise, and with fewer than {FEWEST} conversations."
)
COLOURS = {"green": GREEN, "red": RED, "unclear": ORANGE}


def choose_merge(scores: dict[str, Scores]) -> tuple[str, str]:
    """The recommended merge among `scores` (method -> scores with KL) by RULE, and the reason in words."""
    if len(scores) == 1:
        return next(iter(scores)), "the only merge that was made"
    first, second = scores
    gap = paired_difference(scores[first].nll, scores[second].nll, scores[first].tokens, VERDICTS)
    told = f"{second} - {first} is {_gap(gap)}"
    if (said := judge(gap)) in (BETTER, WORSE):
        return second if said == BETTER else first, f"its NLL is lower by more than {MARGIN}: {told}"
    best = min(scores, key=lambda method: scores[method].kl_per_token)
    return best, f"its KL is lower; between the NLLs: {said} ({told})"


def verdict(row: dict) -> tuple[str, str]:
    """("green", "red" or "unclear", the reason in words) for the merged model's report row, by VERDICT_RULE."""
    gap, told = row["against_adapter"], f"merged - adapter is {_gap(row['against_adapter'])}"
    if gap["rows"] < FEWEST:
        return "unclear", f"Measured on {gap['rows']} conversation(s), fewer than {FEWEST}: {told}."
    if judge(gap) == WORSE:
        return "red", f"The merge lost quality: {told}."
    if gap["high"] < MARGIN:
        return "green", f"{told}."
    return "unclear", f"More held-out conversations could tell: {told}."


def _gap(gap: dict) -> str:
    told = told_interval(gap["low"], gap["high"], "+.4f")
    return f"{gap['difference']:+.4f} nats per token, {100 * gap['level']:.4g} % interval {told}"


def example_replies(prompts: list[list[dict]], replies: dict[str, list]) -> list[dict]:
    """What every model of `replies` (base, adapter, merged) answered to the same prompts, for the model card."""
    return [
        {"prompt": messages[-1]["content"], **{name: given[i].text for name, given in replies.items()}}
        for i, messages in enumerate(prompts)
    ]


def make_report(config, rows: dict, chosen: str, why: str, merged: Path, counts: dict, examples: list) -> dict:
    """Everything merge_report.json holds. `rows`: measured_row by name; `counts`: how much was measured."""
    colour, reason = verdict(rows[chosen])
    names = ("torch", "transformers", "peft", "bitsandbytes")
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "base_model": config.model_id,
        "chosen": chosen,
        "chosen_because": why,
        "rule": RULE,
        "verdict": colour,
        "verdict_reason": reason,
        "verdict_rule": VERDICT_RULE,
        "measured": rows,
        "counts": counts,
        "examples": examples,
        "seed": config.seed,
        "versions": {name: importlib.metadata.version(name) for name in names},
        # SHA-256, as sha256sum prints it; README.md is the model card, which a push writes
        "files": {p.name: sha256(p) for p in sorted(merged.iterdir()) if p.is_file() and p.name != "README.md"},
    }


def report_chart(report: dict) -> Picture:
    """NLL with interval per model; the chosen merge in the colour of the verdict."""
    from matplotlib.figure import Figure

    names = list(report["measured"])
    rows = [report["measured"][name] for name in names]
    figure = Figure(figsize=(8, 0.5 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    for y, (name, row) in enumerate(zip(names, rows, strict=True)):
        colour = COLOURS[report["verdict"]] if name == report["chosen"] else GREY
        if row["nll_low"] is not None:  # None: a single row has no interval
            axes.plot([row["nll_low"], row["nll_high"]], [y, y], color=colour, linewidth=3, alpha=0.4)
        axes.plot(row["nll"], y, "o", color=colour)
        axes.annotate(f"{row['nll']:.3f}", (row["nll"], y), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_xlabel("held-out NLL, nats per answer token (lower is better), with 95 % interval")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    told = ", ".join(f"{name} {row['nll']:.3f}" for name, row in report["measured"].items())
    return Picture(figure, f"Held-out NLL: {told}. Chosen: {report['chosen']}, {report['verdict']}")
