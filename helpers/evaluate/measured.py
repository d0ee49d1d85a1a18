"""Measured models: a line of each for the merge report, and all of it on the disk, so that 06 need not measure again."""

from __future__ import annotations

from dataclasses import asdict

from helpers.evaluate.generation import Reply
from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import paired_difference, ratio_interval, share, told_interval
from helpers.files import read_json, sha256, write_json
from helpers.show.tables import Table

VERDICTS = 2  # of 05: which merge, and did it lose quality
# What the numbers of one adapter on one held-out file depend on
SETTINGS = (
    "model_id model_revision chat_template max_length answer_only_loss learn_thinking load_in_4bit quant_type double_quant "
    "compute_dtype max_new_tokens"
).split()


def measured_row(scores: Scores, adapter: Scores, replies: list | None = None) -> dict:
    """One model's line: NLL per token with interval, distance to the adapter, share of replies that stop."""
    low, high = ratio_interval(scores.nll, scores.tokens)
    row = {"nll": scores.nll_per_token, "nll_low": low, "nll_high": high}
    row["against_adapter"] = paired_difference(adapter.nll, scores.nll, scores.tokens, VERDICTS)
    if scores.kl:
        row |= {"kl": scores.kl_per_token, "agreement": scores.agreement}
    if replies:
        row |= {"stops": sum(reply.stopped for reply in replies) / len(replies), "replies": len(replies)}
    return row


def measured_table(report: dict) -> Table:
    """The measured rows; NLL in nats per answer token."""
    rows = []
    for name, row in report["measured"].items():
        rows.append(
            {
                "model": f"{name}  ← chosen" if name == report["chosen"] else name,
                "NLL": f"{row['nll']:.3f}",
                "95 % interval": told_interval(row["nll_low"], row["nll_high"], ".3f"),
                "KL to adapter": f"{row['kl']:.4f}" if "kl" in row else "",
                "same first choice": f"{row['agreement']:.1%}" if "agreement" in row else "",
                "replies that stop": share(row["stops"] * row["replies"], row["replies"]) if "stops" in row else "",
            }
        )
    counts = report["counts"]
    told = f"{counts['rows']} held-out conversations, {counts['tokens']} answer tokens"
    fewer = counts.get("compared_rows", counts["rows"])  # old reports measured all of it on the same rows
    return Table(rows, caption=told if fewer == counts["rows"] else f"{told}; KL and first choice on {fewer} of them")


def write_measured(run, config, scores: dict[str, Scores], replies: dict[str, list[Reply]]) -> None:
    """Scores and greedy replies by model, and what they were measured on, as measured.json."""
    kept = {
        name: {"nll": scores[name].nll, "tokens": scores[name].tokens, "replies": list(map(asdict, given))}
        for name, given in replies.items()
    }
    write_json(run.measured, {"of": _measured_on(run, config), "models": kept})


def read_measured(run, config, asked: list[list[dict]]) -> dict[str, tuple[Scores, list[Reply]]]:
    """What `write_measured` kept, by model; {} where adapter, merged model, held-out rows or settings are others now.

    {} as well where replies are drawn (temperature above 0): those that were kept are greedy. No replies where `asked`,
    the prompts in order, are not the ones that were answered: more or fewer, or others.
    """
    if config.temperature or not run.measured.exists():
        return {}
    kept = read_json(run.measured)
    if kept["of"] != _measured_on(run, config):
        return {}
    questions, found = [messages[-1]["content"] for messages in asked], {}
    for name, row in kept["models"].items():
        replies = [Reply.from_json(reply) for reply in row["replies"]]
        same = [reply.question for reply in replies] == questions
        found[name] = (Scores(row["nll"], row["tokens"]), replies if same else [])
    return found


def _measured_on(run, config) -> dict:
    """Hashes of what is small; of the merged weights, which may be large, size and time of the last write."""
    stats = {path.name: path.stat() for path in sorted(run.merged.glob("*.safetensors"))}
    return {
        "held-out rows": sha256(run.eval_jsonl),
        "adapter": {path.name: sha256(path) for path in sorted(run.adapter.iterdir()) if path.is_file()},
        "merged": {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()},
        "settings": {name: getattr(config, name) for name in SETTINGS},
    }
