"""What an exercise reads: the files of a run, and the other runs in its folder."""

from __future__ import annotations

from pathlib import Path

from helpers.files import read_json, read_jsonl
from helpers.runs import RunDir
from helpers.settings import PRESETS, RunConfig
from helpers.show.words import _
from helpers.workshop.fence import Fence
from helpers.workshop.tasks import require

# Of a config.json; one that lacks any of them is not ours
NEEDED = set("run_name preset learning_rate lora_r model_id dataset_id seed num_train_epochs max_steps".split())
# The same for two ranks that are compared
SAME = ("model_id", "dataset_id", "seed", "num_train_epochs", "max_steps", "learning_rate")


def held_out(rows: list[dict]) -> list[float]:
    """The held-out losses among the rows of metrics.jsonl, nats per learned token."""
    return [row["eval_loss"] for row in rows if "eval_loss" in row]


def record(path: Path) -> dict:
    """The JSON object in a file; empty where there is none, or one that cannot be read."""
    return Fence(path.parent, {}).record(path.name)


def rows_of(path: Path) -> list[dict]:
    """The rows of a JSON-lines file; none where it cannot be read."""
    try:
        rows = read_jsonl(path)
    except (OSError, ValueError, RecursionError):
        return []
    return rows if all(isinstance(row, dict) for row in rows) else []


def report(path: Path, notebook: str) -> dict:
    """What `notebook` wrote; raises Missing while it has not."""
    missing = _("{run} has no {file} yet: set what the exercise asks for, and run {notebook} from the top.")
    require(path.exists(), missing, run=path.parent.name, file=path.name, notebook=notebook)
    return read_json(path)


def runs_beside(run: RunDir) -> list[tuple[RunDir, dict]]:
    """All runs in the folder of `run` with their settings, oldest first; a folder without settings of ours is none."""
    folders = [folder for folder in Fence(run.path.parent, {}).folders() if "config.json" in folder.files]
    folders.sort(key=lambda folder: folder.time("config.json"))
    read = [(RunDir(folder.path), folder.record("config.json")) for folder in folders]
    return [(other, settings) for other, settings in read if settings.keys() >= NEEDED]


def run_with(run: RunDir, file: str, notebook: str, **settings) -> RunDir:
    """The newest run whose config.json has `settings` and where `file` lies; raises Missing when there is none."""
    seen = {"settings": ", ".join(f"{name}={value!r}" for name, value in settings.items()), "notebook": notebook}
    found = [other for other, has in runs_beside(run) if settings.items() <= has.items()]
    none = _("No run here has {settings}: set it and a run_name in OVERRIDES, and run {notebook} from the top.")
    if notebook == "04":  # which needs the data of a run
        none = _("No run here has {settings}: fork one as the exercise says, and run 04 from the top.")
    require(found, none, **seen)
    ready = [other for other in found if (other.path / file).exists()]
    missing = _("{run} has {settings}, but no {file} yet: run {notebook} from the top.")
    require(ready, missing, run=found[-1].path.name, file=file, **seen)
    return ready[-1]


def larger_rank(run: RunDir, small: RunDir) -> tuple[RunDir, int]:
    """A trained run with the settings of `small` but for a larger rank, and that rank; the page's own comes first."""
    settings = record(small.config_json)
    alike = [(other, s) for other, s in runs_beside(run) if all(s[key] == settings[key] for key in SAME)]
    larger = [(other, s["lora_r"]) for other, s in alike if s["lora_r"] > 2 and other.trained.exists()]
    missing = _("{run} is trained. Set up a run with a larger rank and otherwise the same settings.")
    require(larger, missing, run=small.path.name)
    return min(larger, key=lambda pair: (pair[0].path != run.path, pair[0].path.name))


def rates_beside(run: RunDir) -> list[tuple[RunDir, float, float]]:
    """All runs in the folder of `run`, oldest first, each with its learning rate and that of its preset."""
    usual = {name: preset.get("learning_rate", RunConfig.learning_rate) for name, preset in PRESETS.items()}
    return [(o, s["learning_rate"], usual.get(s["preset"], RunConfig.learning_rate)) for o, s in runs_beside(run)]
