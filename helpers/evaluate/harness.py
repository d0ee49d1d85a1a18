"""lm-evaluation-harness, when it is installed: public benchmarks on a model folder."""

from __future__ import annotations


def run_harness(model: str, tasks: list, limit: int | None = None, task_folder: str | None = None):
    """A `Table` of each task's numbers for the model (folder or hub id); `limit` questions per task.

    `task_folder`: a folder with task files of your own. Raises ModuleNotFoundError when lm_eval is not installed.
    """
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from helpers.report import Table

    found = simple_evaluate(
        model="hf",
        model_args={"pretrained": model, "dtype": "auto"},
        device="cuda" if torch.cuda.is_available() else "cpu",
        tasks=tasks,
        limit=limit,
        task_manager=TaskManager(include_path=task_folder),
    )
    rows = []
    for task, numbers in found["results"].items():
        for name, value in numbers.items():
            if isinstance(value, float) and "stderr" not in name:
                error = numbers.get(name.replace(",", "_stderr,"))
                asked = found["n-samples"][task]["effective"]
                rows.append({"task": task, "number": name, "value": value, "standard error": error, "questions": asked})
    return Table(rows)
