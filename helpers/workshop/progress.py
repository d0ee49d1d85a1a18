"""How far a participant is, read from the run directory alone: numbers and verdicts, never texts, settings or tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.files import read_json
from helpers.runs import RunDir

# What a notebook leaves behind when it ends, in order: properties of RunDir
LEFT_BY = (
    ("03", "data_report"),
    ("04", "trained"),
    ("05", "merge_report"),
    ("06", "evaluation"),
    ("07", "gguf"),
)


LAB_RUN = "labs"  # the small run that the labs make where 04 has not finished: nobody's own


@dataclass(frozen=True)
class Progress:
    """One participant: the newest run of a folder, "" while there is none. `None` is "not there yet", and a file that is being written counts so.

    labels: number of red verdicts of 03; step, steps: of the training; loss, held_out: nats per token; merge: verdict of
    the merge report; labs: name -> solved; seen: last sign of life, Unix seconds.
    """

    name: str
    run: str
    done: str
    red_labels: int | None
    step: int | None
    steps: int | None
    loss: float | None
    held_out: float | None
    merge: str | None
    labs: dict[str, bool]
    seen: float


def of(run: RunDir, name: str) -> Progress:
    """The progress of `run`, shown under `name`."""
    left = {number: getattr(run, name) for number, name in LEFT_BY}
    files = [run.config_json, *left.values(), run.metrics, run.comparisons, run.votes]
    written = [path.stat().st_mtime for path in (*files, *run.labs.glob("*.json")) if path.exists()]
    rows = _tail(run.metrics)
    report = _json(run.data_report).get("verdicts")
    last = {key: row[key] for row in rows for key in ("step", "max_steps", "loss", "eval_loss") if key in row}
    return Progress(
        name=name,
        run=run.path.name,
        done=next((number for number, path in reversed(left.items()) if path.exists()), "00"),
        red_labels=None if report is None else sum(not verdict["ok"] for verdict in report),
        step=last.get("step"),
        steps=last.get("max_steps"),
        loss=last.get("loss"),
        held_out=last.get("eval_loss"),
        merge=_json(run.merge_report).get("verdict"),
        labs={path.stem: bool(_json(path).get("solved")) for path in labs_of(run)},
        seen=max(written, default=0.0),
    )


def labs_of(run: RunDir) -> list[Path]:
    """What the participant solved, in whichever run: before 04 has finished, the labs work on a run of their own."""
    return sorted(run.path.parent.glob("*/labs/*.json"), key=lambda path: (path.stem, path))


def everybody(folder: Path) -> list[Progress]:
    """Every participant under `folder` (folder/PARTICIPANT/RUN/config.json) with the newest run, by name.

    One without a run is there too: pod.sh has made the folder.
    """
    people = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        runs = [of(RunDir(config.parent), path.name) for config in path.glob("*/config.json")]
        nothing = Progress(path.name, "", "–", *[None] * 6, labs={}, seen=path.stat().st_mtime)
        newest = max([run for run in runs if run.run != LAB_RUN] or runs, key=lambda run: run.seen, default=nothing)
        people.append(replace(newest, seen=max(run.seen for run in (*runs, newest))))
    return people


def _json(path: Path) -> dict:
    """A JSON object; empty while the file is not there, or not whole yet."""
    try:
        found = read_json(path)
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _tail(path: Path, size: int = 8192) -> list[dict]:
    """The last whole rows of a JSONL file that another process may be writing; `size` in bytes."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        begin = max(0, path.stat().st_size - size)
        file.seek(begin)
        lines = file.read().split(b"\n")[1 if begin else 0 : -1]  # a row without its line end is not whole
    return [json.loads(line) for line in lines if line]
