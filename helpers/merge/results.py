"""The measured NLL in the two forms that the hub reads, by huggingface_hub's own classes."""

from __future__ import annotations

from pathlib import Path

from helpers.evaluate.intervals import told_interval
from helpers.files import write_atomic
from helpers.merge.licences import on_hub, public_name
from helpers.merge.report import MergeReport
from helpers.settings import RunConfig

# of the hub's results folder: https://huggingface.co/docs/hub/eval-results
FILE, TASK = ".eval_results/held-out.yaml", "held_out_nll"


def on_the_card(config: RunConfig, report: MergeReport, what: str) -> list:
    """The card's `model-index`: one `EvalResult`, the NLL of `what` ("adapter" or "merged").

    The share of replies that stop is not among them: of a dozen it says little.
    """
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=config.dataset_id if on_hub(config.dataset_id) else "local",
            dataset_name=f"{public_name(config.dataset_id)}, held-out part, {report.counts['rows']} conversations",
            metric_type="nll",
            metric_value=round(_measured(report, what)["nll"], 4),
        )
    ]


def write_results(folder: Path, config: RunConfig, report: MergeReport | None, what: str) -> None:
    """Write FILE into `folder`, or delete an older one when there is nothing to say: no report, or data that is not on the hub.

    The hub asks for a data set of its own and a task. The task has a name that no benchmark uses, so the number, which
    belongs to this run's held-out part only, is never ranked beside those of others.
    """
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    (folder / FILE).unlink(missing_ok=True)
    if report is None or not on_hub(config.dataset_id):
        return
    row, counts = _measured(report, what), report.counts
    low_high = told_interval(row["nll_low"], row["nll_high"], ".4f")
    entry = EvalResultEntry(
        dataset_id=config.dataset_id,
        task_id=TASK,
        value=round(row["nll"], 4),
        dataset_revision=config.dataset_revision or None,
        date=report.created or None,
        notes=f"NLL in nats per answer token, lower is better; 95 % interval {low_high}; on {counts['rows']} conversations "
        f"({counts['tokens']} answer tokens) that this run held out of the {config.dataset_split} split. No benchmark.",
    )
    write_atomic(
        folder / FILE, yaml.safe_dump(eval_result_entries_to_yaml([entry]), allow_unicode=True, sort_keys=False)
    )


def _measured(report: MergeReport, what: str) -> dict:
    return report.measured["adapter" if what == "adapter" else report.chosen]
