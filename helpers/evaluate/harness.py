"""lm-evaluation-harness, where it is installed: public benchmarks on base and merged model, question by question."""

from __future__ import annotations

from helpers.evaluate.intervals import NothingMeasured, ratio_interval, told_interval
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.show.words import _


def run_harness(
    run: RunDir, config: RunConfig, tasks: list, limit: int | None = None, task_folder: str | None = None
) -> Table:
    """Each task's numbers for base and merged model, in 16 bits and in the chat template; `limit` questions a task.

    The difference is taken on the same questions; its interval is one of 95 % each. `task_folder`: a folder with
    task files of your own. Raises ModuleNotFoundError when lm_eval is not installed.
    """
    from helpers.model.source import ModelSource

    source, merged = ModelSource.of(config), str(run.merged)
    models = {"base": {"pretrained": source.path, "revision": source.revision}, "merged": {"pretrained": merged}}
    # the merged folder's tokenizer for both: it has the template that was trained
    results = {name: _evaluate({**m, "tokenizer": merged}, tasks, limit, task_folder) for name, m in models.items()}
    return harness_table(results)


def harness_table(results: dict[str, dict]) -> Table:
    """What `simple_evaluate` gave for "base" and "merged", side by side."""
    rows = []
    for task, numbers in results["base"]["results"].items():
        questions = results["base"]["n-samples"].get(task, {}).get("effective")
        names = [name for name, value in numbers.items() if isinstance(value, float) and "stderr" not in name]
        rows += [{**_harness_row(results, task, name), "questions": questions} for name in names]
    caption = _("Same questions to both, in the chat template. An interval that holds 0 proves neither gain nor loss.")
    return Table(rows, caption=caption)


def _harness_row(results: dict[str, dict], task: str, name: str) -> dict:
    base, merged = (results[model]["results"][task][name] for model in ("base", "merged"))
    row = {"task": task, "number": name, "base": base, "merged": merged, "difference": merged - base, "interval": ""}
    before, after = (_by_question(results[model], task, name) for model in ("base", "merged"))
    if before and before.keys() == after.keys():
        gaps = [after[question] - value for question, value in before.items()]
        try:
            row["interval"] = told_interval(*ratio_interval(gaps, [1] * len(gaps)))
        except NothingMeasured as error:
            row["interval"] = str(error)
    return row


def _by_question(result: dict, task: str, name: str) -> dict:
    """Question -> its value of the number `name` ("acc,none"), where it has one of its own."""
    metric, _comma, kind = name.partition(",")
    samples = result.get("samples", {}).get(task, [])
    own = (sample for sample in samples if sample.get("filter", "none") == (kind or "none"))
    return {sample["doc_id"]: sample[metric] for sample in own if isinstance(sample.get(metric), (int, float))}


def _evaluate(model: dict, tasks: list, limit: int | None, task_folder: str | None) -> dict:
    import gc

    import torch
    from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    gc.collect()  # one model in memory at a time
    torch.cuda.empty_cache()
    return simple_evaluate(
        model="hf",
        model_args={**model, "dtype": "auto"},
        device="cuda" if torch.cuda.is_available() else "cpu",
        tasks=tasks,
        limit=limit,
        apply_chat_template=True,
        log_samples=True,
        task_manager=TaskManager(include_path=task_folder),
    )
