"""The merge report: what each way of merging did to this very model, which one is recommended, and by which rule."""

from __future__ import annotations

import datetime
import importlib.metadata
from pathlib import Path

from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import paired_difference
from helpers.files import sha256
from helpers.report import GREEN, RED

RULE = (
    "The merge with the lower held-out NLL, when the 95 % interval of the difference between the two excludes 0; "
    "otherwise the one nearer to the adapter (lower KL)."
)
CLEARLY_WORSE = 0.02  # nats per token: about 2 % in perplexity
VERDICT_RULE = (
    f"Red when the 95 % interval of (merged - adapter) lies above {CLEARLY_WORSE} nats per token; green otherwise."
)


def choose_merge(scores: dict[str, Scores]) -> tuple[str, str]:
    """The recommended merge among `scores` (method -> scores with KL) by RULE, and the reason in words."""
    if len(scores) == 1:
        return next(iter(scores)), "the only merge that was made"
    first, second = scores
    gap = paired_difference(scores[first].nll, scores[second].nll, scores[first].tokens)
    interval = f"{gap['low']:+.4f} to {gap['high']:+.4f}"
    if gap["low"] > 0 or gap["high"] < 0:
        best = first if gap["low"] > 0 else second
        return best, f"its NLL is lower: {second} - {first} is {interval} nats per token, which excludes 0"
    best = min(scores, key=lambda method: scores[method].kl_per_token)
    return best, f"NLLs cannot be told apart ({second} - {first} is {interval} nats per token), and its KL is lower"


def verdict(row: dict) -> tuple[str, str]:
    """("green" or "red", the reason in words) for the merged model's report row, by VERDICT_RULE."""
    gap = row["against_adapter"]
    told = f"merged - adapter is {gap['difference']:+.4f} nats per token, 95 % interval {gap['low']:+.4f} to {gap['high']:+.4f}"
    return ("red", f"The merge lost quality: {told}.") if gap["low"] > CLEARLY_WORSE else ("green", f"{told}.")


def example_replies(prompts: list[list[dict]], replies: dict[str, list], chosen: str) -> list[dict]:
    """What base, adapter and the chosen merge answered to the same prompts, for the model card."""
    names = {"base": "base", "adapter": "adapter", "merged": chosen}
    return [
        {"prompt": messages[-1]["content"], **{name: replies[key][i].text for name, key in names.items()}}
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
        # SHA-256, as sha256sum prints it; README.md is the model card, which is written later
        "files": {path.name: sha256(path) for path in sorted(merged.iterdir()) if path.name != "README.md"},
    }


def report_chart(report: dict):
    """A figure: NLL with interval per model; the chosen merge in green (red when the verdict is red)."""
    import matplotlib.pyplot as plt

    names = list(report["measured"])
    rows = [report["measured"][name] for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(names) + 1), layout="constrained")
    for y, (name, row) in enumerate(zip(names, rows, strict=True)):
        colour = (GREEN if report["verdict"] == "green" else RED) if name == report["chosen"] else "#57606a"
        axes.plot([row["nll_low"], row["nll_high"]], [y, y], color=colour, linewidth=3, alpha=0.4)
        axes.plot(row["nll"], y, "o", color=colour)
        axes.annotate(f"{row['nll']:.3f}", (row["nll"], y), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_xlabel("held-out NLL, nats per answer token (lower is better), with 95 % interval")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    plt.close(figure)
    return figure
