"""lm-evaluation-harness, when it is installed: public benchmarks on the base and on the merged model, question by
question.
"""

from __future__ import annotations

from helpers.evaluate.intervals import ratio_interval, told_interval
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.show.words import _


def run_harness(
    run: RunDir, config: RunConfig, tasks: list, limit: int | None = None, task_folder: str | None = None
) -> Table:
    """Each task's numbers for base and merged model, both in 16 bits, asked in the chat template; `limit` questions a
    task.

    The difference is taken on the same questions; its interval is one of 95 % each. `task_folder`: a folder with
    task files of your own. Raises ModuleNotFoundError when lm_eval is not installed.
    """
    from helpers.model.source import ModelSource

    source = ModelSource.of(config)
    base = {"pretrained": source.path, "revision": source.revision}
    models = {"base": base, "merged": {"pretrained": str(run.merged)}}
    found = {}
    for name, model in models.items():  # one after the other: one model in memory at a time
        # the merged folder's tokenizer for both: it has the template that was trained
        found[name] = _evaluate({**model, "tokenizer": str(run.merged)}, tasks, limit, task_folder)
    return harness_table(found)


def harness_table(found: dict[str, dict]) -> Table:
    """What `simple_evaluate` found for "base" and "merged", side by side."""
    rows = []
    for task, numbers in found["base"]["results"].items():
        questions = found["base"]["n-samples"].get(task, {}).get("effective")
        for name, value in numbers.items():
            if isinstance(value, float) and "stderr" not in name:
                rows.append({**_harness_row(found, task, name), "questions": questions})
    told = _("Same questions to both, in the chat template. An interval that holds 0 proves neither gain nor loss.")
    return Table(rows, caption=told)


def _harness_row(found: dict[str, dict], task: str, name: str) -> dict:
    row = {"task": task, "number": name}
    row |= {model: results["results"][task][name] for model, results in found.items()}
    row["difference"] = row["merged"] - row["base"]
    base, merged = (_by_question(results.get("samples", {}).get(task, []), name) for results in found.values())
    if base and base.keys() == merged.keys():
        gaps = [merged[question] - value for question, value in base.items()]
        row["interval"] = told_interval(*ratio_interval(gaps, [1] * len(gaps)))
    return row


def _evaluate(model: dict, tasks: list, limit: int | None, task_folder: str | None) -> dict:
    import gc

    import torch
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    gc.collect()
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


def _by_question(samples: list[dict], name: str) -> dict:
    """Question -> its value of the number `name` ("acc,none"), where it has one of its own."""
    metric, _comma, kind = name.partition(",")
    own = (sample for sample in samples if sample.get("filter", "none") == (kind or "none"))
    return {sample["doc_id"]: sample[metric] for sample in own if isinstance(sample.get(metric), (int, float))}
