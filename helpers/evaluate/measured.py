"""Measured models: a line of each for the merge report, and all of it on the disk, so that 06 need not do it again."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from helpers.evaluate.generation import Reply
from helpers.evaluate.held_out import Scores, nll_cells
from helpers.evaluate.intervals import paired_difference, share
from helpers.fields import Stage
from helpers.files import read_json, sha256, write_json
from helpers.runs import RunDir
from helpers.settings import RunConfig, names_of
from helpers.show.tables import Table
from helpers.show.words import _

VERDICTS = 2  # of 05: which merge, and did it lose quality


@dataclass(frozen=True)
class Measured:
    """The content of measured.json."""

    of: dict  # what the numbers depend on, see `_measured_on`
    models: dict[str, dict]  # by model: nll and tokens by row, replies
    schema: int = 1


def measured_row(scores: Scores, adapter: Scores, replies: list | None = None) -> dict:
    """One model's line: NLL per token with interval, distance to the adapter, share of replies that stop."""
    row = scores.numbers()
    row["against_adapter"] = paired_difference(adapter.nll, scores.nll, scores.tokens, VERDICTS)
    if scores.kl:
        row |= {"kl": scores.kl_per_token, "agreement": scores.agreement}
    if replies:
        row |= {"stops": sum(reply.stopped for reply in replies) / len(replies), "replies": len(replies)}
    return row


def measured_table(report: dict) -> Table:
    """The measured rows; NLL in nats per answer token."""
    rows = []
    for name, numbers in report["measured"].items():
        model = _("{model}  ← chosen").format(model=name) if name == report["chosen"] else name
        row = {"model": model, **nll_cells(numbers), "KL to adapter": "", "same first choice": ""}
        if "kl" in numbers:
            row |= {"KL to adapter": f"{numbers['kl']:.4f}", "same first choice": f"{numbers['agreement']:.1%}"}
        stops = share(numbers["stops"] * numbers["replies"], numbers["replies"]) if "stops" in numbers else ""
        rows.append(row | {"replies that stop": stops})
    counts = report["counts"]
    caption = _("{rows} held-out conversations, {tokens} answer tokens")
    if counts.get("compared_rows", counts["rows"]) != counts["rows"]:  # old reports measured all of it on the same rows
        caption += _("; KL and first choice on {compared_rows} of them")
    return Table(rows, caption=caption.format(**counts))


def write_measured(run: RunDir, config: RunConfig, scores: dict[str, Scores], replies: dict[str, list[Reply]]) -> None:
    """Scores and greedy replies by model, and what they were measured on, as measured.json."""
    models = {
        name: {"nll": scores[name].nll, "tokens": scores[name].tokens, "replies": list(map(asdict, given))}
        for name, given in replies.items()
    }
    write_json(run.measured, asdict(Measured(_measured_on(run, config), models)))


def read_measured(run: RunDir, config: RunConfig, prompts: list[list[dict]]) -> dict[str, tuple[Scores, list[Reply]]]:
    """What `write_measured` kept, by model; {} where adapter, merged model, held-out rows or settings are others now.

    {} as well where replies are drawn (temperature above 0): those that were kept are greedy. The replies are those
    to the first of `prompts`; none where other questions, or more, were answered.
    """
    if config.temperature or not run.measured.exists():
        return {}
    kept, measured = Measured(**read_json(run.measured)), {}
    if kept.of != _measured_on(run, config):
        return {}
    for name, row in kept.models.items():
        replies = [Reply.from_json(reply) for reply in row["replies"]]
        questions = [messages[-1]["content"] for messages in prompts[: len(replies)]]
        same = questions == [reply.question for reply in replies]
        measured[name] = (Scores(row["nll"], row["tokens"]), replies if same else [])
    return measured


def _measured_on(run: RunDir, config: RunConfig) -> dict:
    """Hashes of what is small; of the merged weights, which may be large, size and time of the last write."""
    stats = {path.name: path.stat() for path in sorted(run.merged.glob("*.safetensors"))}
    settings = names_of(Stage.DATA, Stage.LABELS, Stage.TRAINING, Stage.MERGE)
    return {
        "held-out rows": sha256(run.eval_jsonl),
        "adapter": {path.name: sha256(path) for path in sorted(run.adapter.iterdir()) if path.is_file()},
        "merged": {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()},
        "settings": {name: getattr(config, name) for name in settings},
    }
