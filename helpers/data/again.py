"""03 without its page: rows, verdicts and settings of a run are made again, for a fork that learns from other rows."""

from __future__ import annotations

from helpers.data.costs import summary
from helpers.data.labels import judged_settings
from helpers.data.prepare import prepare
from helpers.data.verdicts import inspect, verdicts_of
from helpers.files import read_jsonl, write_json
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir


def prepare_again(run: RunDir) -> dict[str, object]:
    """Write data/ and data_report.json of `run` by its settings and its list of rows to leave out."""
    config = run.stored_config()
    tokenizer = load_tokenizer(config)
    report = prepare(config, run, tokenizer)
    labels = inspect(read_jsonl(run.train_jsonl), read_jsonl(run.eval_jsonl), tokenizer, config)
    judged = {"verdicts": verdicts_of(report, labels), "judged_for": judged_settings(config)}
    whole = {**report, **judged, "numbers": labels["numbers"], "lengths": summary(labels["lengths"])}
    write_json(run.data_report, whole)
    return whole
