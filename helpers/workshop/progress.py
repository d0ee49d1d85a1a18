"""How far each participant is, from the run directories: numbers and verdicts, never texts, settings or tokens."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from helpers.runs.directory import OLD_MERGE_REPORT
from helpers.show.verdict import Verdict
from helpers.show.words import N_
from helpers.workshop.fence import Fence, decimal, records, whole, yes_or_no
from helpers.workshop.guess import FILE as GUESSES_FILE
from helpers.workshop.guess import GUESSES
from helpers.workshop.labs import LAB_RUN, LABS

# What a notebook leaves behind when it ends, the last one first
LEFT_BY = {
    "gguf": "07", "evaluation.json": "06", "merge_report.json": "05", OLD_MERGE_REPORT: "05", "trained.json": "04",
    "data_report.json": "03", "config.json": "00",
}  # fmt: skip
# What is shown of metrics.jsonl: its name there, and its kind
NUMBERS = {
    "step": ("step", whole), "steps": ("max_steps", whole),
    "loss": ("loss", decimal), "held_out": ("eval_loss", decimal),
}  # fmt: skip
TAIL = 8192  # bytes of metrics.jsonl that are read, from its end


@dataclass(frozen=True)
class Lab:
    """One lab of a participant."""

    solved: bool = False
    tries: int = 0

    @property
    def mark(self) -> str:
        """✓ solved, … not yet, and after how many tries."""
        if self.solved:
            return "✓"
        return "…" if self.tries < 2 else f"…×{self.tries}"


@dataclass(frozen=True)
class Progress:
    """One participant: the newest run of a folder, "" while there is none. `None` is "not there yet", or not readable.

    stage: the last notebook that ended; furthest: the same over all runs; red_labels: red verdicts of 03; loss,
    held_out: nats per token; seen: last sign of life, Unix seconds; faults: (file, reason) of what cannot be read.
    """

    name: str
    run: str = ""
    stage: str = "–"
    furthest: str = "–"
    red_labels: int | None = None
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    held_out: float | None = None
    merge: Verdict | None = None
    labs: dict[str, Lab] = field(default_factory=dict)
    guesses: dict[str, int] = field(default_factory=dict)
    seen: float = 0.0
    faults: tuple[tuple[str, str], ...] = ()


def everybody(folder: Path) -> list[Progress]:
    """Every participant under `folder` (folder/PARTICIPANT/RUN/config.json) with the newest run, by name.

    One without a run is there too: pod.sh has made the folder.
    """
    with os.scandir(folder) as entries:
        people = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    return [participant(Path(entry.path)) for entry in people if not entry.is_file(follow_symlinks=False)]


def participant(folder: Path) -> Progress:
    """One of them, whatever lies in `folder`."""
    name = folder.name.encode("utf-8", "replace").decode()  # a name may hold bytes that are no text
    faults: dict[tuple[str, str], None] = {}
    try:
        found = _newest_run(Fence(folder, faults))
    except Exception:  # broken in a way that nobody thought of: it costs this row, never the board
        found, faults = {}, {("", N_("damaged")): None}
    return Progress(name, **found, faults=tuple(faults))


def _newest_run(own: Fence) -> dict:
    """What the fields of `Progress` are, from the newest run in a participant's folder."""
    runs = [run for run in own.folders() if "config.json" in run.files]
    if not runs:
        return {"seen": os.stat(own.path).st_mtime}
    labs, guesses, lab_seen = _labs(runs)
    times = {run.path: _seen(run) for run in runs}
    run = max(runs, key=lambda run: (run.path.name != LAB_RUN, times[run.path]))
    furthest = max(LEFT_BY[_last(other)] for other in runs if run.path.name == LAB_RUN or other.path.name != LAB_RUN)
    last = {key: value for row in _metrics(run) for key, value in row.items()}
    numbers = {name: run.typed("metrics.jsonl", last.get(key), kind) for name, (key, kind) in NUMBERS.items()}
    return {
        "run": run.path.name, "labs": labs, "guesses": guesses, "seen": max(lab_seen, *times.values()),
        "stage": LEFT_BY[_last(run)], "furthest": furthest, "red_labels": _red_labels(run), "merge": _merge(run),
        **numbers,
    }  # fmt: skip


def _last(run: Fence) -> str:
    """The file of the last notebook that ended."""
    return next(file for file in LEFT_BY if file in run.files)


def _seen(run: Fence) -> float:
    """The last sign of life: a training writes metrics.jsonl, a vote votes.jsonl, everything else ends with a file."""
    last = _last(run)
    training = last in ("config.json", "data_report.json") and "metrics.jsonl" in run.files
    return max(run.time("metrics.jsonl" if training else last), run.time("votes.jsonl"))


def _metrics(run: Fence) -> list[dict]:
    """The last whole rows; another process may be writing the next one, which has no line end yet."""
    data = run.read("metrics.jsonl", TAIL)
    lines = data.split(b"\n")[:-1]
    if len(data) == TAIL:  # it begins in the middle of a row; one that is longer than all of this is none
        lines = lines[1:] or [data]
    return [run.record("metrics.jsonl", line) for line in lines if line]


def _red_labels(run: Fence) -> int | None:
    verdicts = run.typed("data_report.json", run.record("data_report.json").get("verdicts"), records)
    if verdicts is None:
        return None
    green = [run.typed("data_report.json", row.get("ok", ""), yes_or_no) for row in verdicts]
    return None if None in green else green.count(False)


def _merge(run: Fence) -> Verdict | None:
    name = "merge_report.json" if "merge_report.json" in run.files else OLD_MERGE_REPORT
    verdicts = list(Verdict)
    return run.typed(name, run.record(name).get("verdict"), lambda word: Verdict(word) if word in verdicts else None)


def _labs(runs: list[Fence]) -> tuple[dict[str, Lab], dict[str, int], float]:
    """What the participant tried, solved and guessed, in whichever run, and when."""
    found: dict[str, Lab] = {}
    guesses: dict[str, int] = {}
    seen = 0.0
    for run in runs:
        if "labs" not in run.files:
            continue
        folder = Fence(run.files["labs"].path, run.faults)
        for lab in LABS:  # other names are none of ours
            if (file := f"{lab}.json") not in folder.files:
                continue
            record, before = folder.record(file), found.get(lab, Lab())
            solved = folder.typed(file, record.get("solved", False), yes_or_no) or before.solved
            tries = folder.typed(file, record.get("tries", 0), whole) or 0
            found[lab] = Lab(solved, before.tries + tries)
            seen = max(seen, folder.time(file))
        if GUESSES_FILE in folder.files:
            guessed = folder.record(GUESSES_FILE)
            typed = {number: folder.typed(GUESSES_FILE, guessed.get(number), whole) for number in GUESSES}
            guesses |= {n: i for n, i in typed.items() if i is not None and i < len(GUESSES[n].answers)}
    return {lab: found[lab] for lab in LABS if lab in found}, guesses, seen
