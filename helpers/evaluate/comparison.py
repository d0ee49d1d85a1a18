"""Base, adapter and merged model side by side: the rows of comparisons.jsonl and the numbers of evaluation.json."""

from __future__ import annotations

import datetime
import html
import importlib.metadata
import json

from helpers.evaluate.generation import Reply, told
from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import (
    ALPHA,
    MARGINS,
    STATES,
    judge,
    paired_difference,
    ratio_interval,
    share,
    told_interval,
)
from helpers.evaluate.prompts import FIXED_PROMPTS, fixed_prompts
from helpers.evaluate.replies import chrf_by_reply, reply_metrics
from helpers.files import write_jsonl
from helpers.runs import RunDir
from helpers.show.tables import Table

MODELS = ("base", "adapter", "merged")


def comparison_rows(prompts: list[list[dict]], references: list[str], replies: dict[str, list[Reply]]) -> list[dict]:
    """One row per prompt. The first prompts are the fixed set, the others held-out ones with a reference answer.

    Raises ValueError for replies that were given to other prompts.
    """
    for name, given in replies.items():
        asked = [reply.question for reply in given]
        if len(given) != len(prompts) or any(
            q and q != messages[-1]["content"] for q, messages in zip(asked, prompts, strict=True)
        ):
            raise ValueError(f"The replies of {name} are to other questions than these: run the cells that ask again.")
    rows = []
    for i, messages in enumerate(prompts):
        fixed = i < len(FIXED_PROMPTS)
        row = {
            "kind": "fixed" if fixed else "held-out",
            "prompt": messages[-1]["content"],
            "messages": messages,
            "reference": _known(i, messages) if fixed else references[i - len(FIXED_PROMPTS)],
        }
        row |= {name: replies[name][i].text for name in replies}
        row["stopped"] = {name: replies[name][i].stopped for name in replies}
        row["in_thought"] = {name: replies[name][i].in_thought for name in replies}
        if thoughts := {name: replies[name][i].thought for name in replies if replies[name][i].thought}:
            row["thoughts"] = thoughts
        if tools := getattr(messages, "tools", None):
            row["tools"] = tools
        rows.append(row)
    return rows


def _known(i: int, messages: list[dict]) -> str:
    """The known answer of the fixed prompt `i`; none for a question that a reader has put in its place."""
    return FIXED_PROMPTS[i]["known"] if messages == fixed_prompts()[i] else ""


def write_comparisons(run: RunDir, rows: list[dict]) -> None:
    write_jsonl(run.comparisons, rows)


def comparison_table(rows: list[dict]) -> Table:
    """Side by side, answers only; one that was cut at max_new_tokens ends with an ellipsis."""
    return Table(
        [
            {"asked": conversation(row["messages"]), **_answers(row), "reference answer": row["reference"]}
            for row in rows
        ]
    )


def _answers(row: dict) -> dict[str, str]:
    inside = row.get("in_thought", {})  # rows of before 2026-11-25 have none
    return {name: told(row[name], row["stopped"][name], inside.get(name, False)) for name in MODELS if name in row}


def conversation(messages: list[dict]) -> str:
    """All turns up to the reply; a single question without its role. A turn without text shows the tools that it calls."""
    if len(messages) == 1:
        return messages[0]["content"]
    said = [(m["role"], m["content"] or json.dumps(m.get("tool_calls") or "", ensure_ascii=False)) for m in messages]
    return "\n".join(f"{role}: {text}" for role, text in said)


def one_by_one(rows: list[dict]):
    """The same rows to read one at a time: a click on a question opens its replies. Works without a running kernel."""
    from IPython.display import HTML

    text = "white-space:pre-wrap;margin:4px 0 12px 16px;line-height:1.6"
    parts = []
    for number, row in enumerate(rows, start=1):
        shown = {"reference answer": row["reference"], **_answers(row)}
        replies = "".join(
            f"<b>{name}</b>{_folded(row.get('thoughts', {}).get(name, ''))}"
            f'<div style="{text}">{html.escape(said) or "(nothing)"}</div>'
            for name, said in shown.items()
        )
        question = html.escape(conversation(row["messages"]))
        parts.append(
            f"<details{' open' if number == 1 else ''}><summary>{number}. {question}</summary>{replies}</details>"
        )
    return HTML(f'<div style="margin-top:16px">{"".join(parts)}</div>')


def _folded(thought: str) -> str:
    """A thought, to be opened by a click."""
    style = "white-space:pre-wrap;margin:4px 0 4px 16px;padding-left:8px;border-left:3px solid #8250df"
    body = f'<div style="{style}">{html.escape(thought)}</div>'
    return f'<details style="margin-left:16px"><summary>its thought</summary>{body}</details>' if thought else ""


def model_numbers(scores: Scores, replies: list[Reply], references: list[str]) -> dict:
    """One model's numbers on the held-out part: NLL with interval, perplexity, and those of its replies."""
    low, high = ratio_interval(scores.nll, scores.tokens)
    numbers = {"nll": scores.nll_per_token, "nll_low": low, "nll_high": high, "perplexity": scores.perplexity}
    counts = {"rows": len(scores.tokens), "answer_tokens": sum(scores.tokens)}
    return {**numbers, **counts, **reply_metrics(replies, references)}


PAIRS = (("base", "adapter"), ("adapter", "merged"))
MOST_CUT = 0.2  # share of replies; with more of them cut inside their thoughts, nothing is said about the answers
CUT = "unclear: too many replies were cut inside their thoughts, raise max_new_tokens"


def really_better(
    scores: dict[str, Scores], replies: dict[str, list[Reply]], references: list[str], pairs=PAIRS
) -> list[dict]:
    """Adapter against base, merged against adapter, on the same rows: one verdict per pair and number (see `judge`)."""
    found, verdicts = [], len(pairs) * len(MARGINS)
    for first, second in pairs:
        nll = paired_difference(scores[first].nll, scores[second].nll, scores[first].tokens, verdicts)
        chrf = [chrf_by_reply(replies[name], references) for name in (first, second)]
        text = paired_difference(*chrf, [1] * len(references), verdicts)
        for number, gap in zip(MARGINS, (nll, text), strict=True):
            found.append({"number": number, "model": second, "against": first, **gap, "verdict": judge(gap, number)})
        cut = max(sum(reply.in_thought and not reply.stopped for reply in replies[name]) for name in (first, second))
        if cut > MOST_CUT * len(references):
            found[-1]["verdict"] = CUT
    return found


def numbers_table(models: dict[str, dict]) -> Table:
    """The numbers of evaluation.json as a table, with the counts in the caption."""
    rows = [
        {
            "model": name,
            "NLL": f"{f['nll']:.3f}",
            "95 % interval": told_interval(f["nll_low"], f["nll_high"], ".3f"),
            "perplexity": f"{f['perplexity']:,.1f}",
            "chrF": f"{f['chrf']:.1f}",
            "stops": share(f["stops"] * f["replies"], f["replies"]),
            "repeats": f"{f['repetition']:.0%}",
            "tokens": f"{f['tokens']:.0f}",
        }
        for name, f in models.items()
    ]
    if any(f.get("in_thought") for f in models.values()):
        for row, f in zip(rows, models.values(), strict=True):
            row["ended inside the thought"] = share(f["in_thought"], f["replies"])
    one = next(iter(models.values()))
    told = f"NLL on {one['rows']} held-out conversations ({one['answer_tokens']} answer tokens); the rest on {one['replies']} replies"
    return Table(rows, caption=told)


def better_table(paired: list[dict]) -> Table:
    """The paired comparisons as a table; the rule of the verdicts is its caption."""
    rows = [
        {
            "model": f"{row['model']} against {row['against']}",
            "number": row["number"],
            "difference": f"{row['difference']:+.3f}",
            "interval": told_interval(row["low"], row["high"]),
            "rows": row["rows"],
            "verdict": row["verdict"],
        }
        for row in paired
    ]
    margins = " and ".join(f"{margin:g} for {number}" for number, margin in MARGINS.items())
    level = f"Intervals of {100 * (1 - ALPHA / len(paired)):.4g} % each, so that all {len(paired)} hold in 95 % of such pages"
    return Table(rows, caption=f"{level}. {STATES} Margins: {margins}.")


def _decoding(config) -> str:
    if not config.temperature:
        return "greedy"
    return (
        f"drawn with temperature {config.temperature:g} and top_p {config.top_p:g}, seed {config.seed} for every model"
    )


def make_evaluation(config, models: dict[str, dict], paired: list[dict], extra: dict | None = None) -> dict:
    """Everything evaluation.json holds."""
    names = ("torch", "transformers", "peft", "bitsandbytes", "sacrebleu")
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "base_model": config.model_id,
        "dataset": config.dataset_id,
        "decoding": f"{_decoding(config)}, at most {config.max_new_tokens} new tokens",
        "temperature": config.temperature,  # 0 = greedy
        "top_p": config.top_p,
        "seed": config.seed,
        "models": models,
        "paired": paired,
        **(extra or {}),
        "versions": {name: importlib.metadata.version(name) for name in names},
    }
