"""Many forks, trained one after the other by a process of its own; those that are clearly worse stop early.

sweep("demo", learning_rate=[1e-4, 1e-3], seeds=[1, 2, 3])    # forks, queue and process; again after a kill: it goes on
Table(standing("demo"))                                       # where it is, from the disk

Successive halving (Jamieson & Talwalkar, Non-stochastic Best Arm Identification, 2016), with care: all are trained
to a quarter, the better half goes on to the half, and the better half of these to the end; so does every other run
that is not proven worse, row by row. Runs that differ in their seed alone are judged together, by their mean. A run
that stops keeps its checkpoint, and goes on exactly where it was. Nothing is remembered but what lies in
runs/.sweeps/ and in the runs.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from helpers.compare.choices import make_fork, planned
from helpers.compare.runs import Trial, read_run, read_runs
from helpers.compare.seeds import same_but_for_luck
from helpers.evaluate.intervals import FEWEST, MARGINS, NLL, WORSE, judged_difference
from helpers.evaluate.rivals import row_means
from helpers.files import read_json, write_json
from helpers.paths import PROJECT_ROOT, runs_root
from helpers.runs import RunDir
from helpers.runs.lock import hold, owner_of
from helpers.settings import OTHER_VARIABLES
from helpers.show.words import _
from helpers.train.launch import detach, running, start, stop

ROUNDS = (0.25, 0.5, 1.0)  # shares of the steps, after which the worse half stops
CLOSE = MARGINS[NLL]  # nats: a run as near as this to the last one that goes on goes on too


def sweep(old: str, **choices: list) -> list[str]:
    """Fork `old` for every combination of `choices` and train the forks in a process of its own; gives their names.

    `seeds=[1, 2, 3]` trains each combination with each. The same call again goes on after a kill; another one adds its
    forks to the queue of `old`. Raises BadSetting before anything is made.
    """
    forks = planned(old, **choices)
    names = [make_fork(old, name, changes).path.name for name, changes in forks.items()]
    folder, queued = _folder(old), _listed(old, "queue")
    write_json(folder / "queue.json", queued + [name for name in names if name not in queued])
    if running(RunDir(folder)):
        print(_("{count} runs are in the queue of {old}, which is being worked on.").format(count=len(names), old=old))
        return names
    settings = {k: v for k, v in os.environ.items() if not k.startswith("QLORA_") or k in OTHER_VARIABLES}
    paths = {"QLORA_RUNS_DIR": str(runs_root()), "PYTHONPATH": f"{PROJECT_ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    process = detach([sys.executable, "-m", "helpers.compare.sweep", old], folder, {**settings, **paths})
    sentence = _("{count} runs are in the queue; process {pid} trains them, whatever happens to this notebook.")
    print(*filter(None, (sentence.format(count=len(names), pid=process), _another(old))), sep="\n")
    return names


def standing(old: str) -> list[dict]:
    """Where the sweep stands, as rows of a table: run, state, held-out loss after each round, and what became of it."""
    queue, failed, waiting = _listed(old, "queue"), _listed(old, "failed"), _another(old)
    trials = {trial.name: trial for trial in read_runs() if trial.name in queue}
    states = {name: waiting if waiting and not trial.curve else trial.state for name, trial in trials.items()}
    racing = [trials[name] for name in queue if name in trials and name not in failed]
    for share in ROUNDS[:-1]:
        going = survivors(racing, share) or [trial.name for trial in racing]  # None: nobody is judged yet
        stopped = _("stopped after {share:.0%}: its held-out loss was higher").format(share=share)
        states |= {trial.name: stopped for trial in racing if trial.name not in going}
        racing = [trial for trial in racing if trial.name in going]
    states |= dict.fromkeys(failed, _("failed: the end of its launch.log says why"))
    rows = []
    for name in filter(trials.get, queue):
        losses = {_("at {share:.0%}").format(share=share): loss_at(trials[name], share) for share in ROUNDS}
        rows.append({"run": name, "state": states[name], **losses})
    return rows


def survivors(trials: list[Trial], share: float) -> list[str] | None:
    """The names that go on after the round `share`: the better half, and all that are not proven worse than its last.

    Proven is the paired interval of the held-out rows, at the same step; without rows it is a mean more than `CLOSE`
    above. None while one of them has not come so far: then nobody is judged. A loss that is no number is the worst.
    """
    losses: dict[str, Any] = {trial.name: loss_at(trial, share) for trial in trials}
    if None in losses.values():
        return None
    groups = [(fmean(losses[trial.name] for trial in group), group) for group in same_but_for_luck(trials)]
    groups.sort(key=lambda judged: judged[0])
    half = (len(groups) + 1) // 2
    groups = [judged for judged in groups if judged[0] < math.inf] or groups
    going, others = groups[:half], groups[half:]
    going += [other for other in others if not _proven_worse(going[-1], other, share, len(others))]
    names = {trial.name for _mean, group in going for trial in group}
    return [trial.name for trial in trials if trial.name in names] or None


def _proven_worse(last: tuple, other: tuple, share: float, tests: int) -> bool:
    """Whether `other` is worse than the last that goes on: (mean, runs of one setting) each."""
    rows = ([trial.rows_at(share) for trial in group] for _mean, group in (last, other))
    (of_last, of_other), tokens = row_means(*rows)
    if len(tokens) < FEWEST:
        return other[0] > last[0] + CLOSE
    return judged_difference(of_last, of_other, tokens, tests)["verdict"] == WORSE


def loss_at(trial: Trial, share: float) -> float | None:
    """Its held-out loss (nats per token) at the first evaluation from that share of its steps on; None before that.

    Of a training that ended earlier, the last one.
    """
    return trial.at(share)[1]


def work(old: str) -> None:
    """Train the queue of `old`, round by round, until nothing is left; one worker at a time in a runs directory."""
    if busy := _another(old):
        print(busy, flush=True)
    while owner_of(_lock()):
        time.sleep(1)
    with hold(_lock(), f"sweep of {old}"):
        failed, done = [], None
        write_json(_folder(old) / "failed.json", failed)
        while done != (queue := _listed(old, "queue")):  # runs may be added meanwhile
            names = [name for name in queue if name not in failed]
            for share in ROUNDS:
                names = _round(old, names, share, failed)
                print(_("after {share:.0%}: {runs}").format(share=share, runs=", ".join(names)), flush=True)
            done = queue


def _round(old: str, names: list[str], share: float, failed: list[str]) -> list[str]:
    """Train `names` to that share; who goes on. One that fails is written down in `failed`, and stops nobody."""
    for name in names:
        if not _train_until(RunDir(runs_root() / name), share):
            sentence = _("{run} failed: the end of its launch.log says why. The sweep goes on without it.")
            print(sentence.format(run=name), flush=True)
            failed.append(name)
            write_json(_folder(old) / "failed.json", failed)
    left = [name for name in names if name not in failed]
    if share == ROUNDS[-1]:
        return left
    trials = {trial.name: trial for trial in read_runs()}
    return survivors([trials[name] for name in left], share) or left


def _train_until(run: RunDir, share: float) -> bool:
    """Train the run until it has been evaluated at that share of its steps; False when it ended before."""
    if _reached(run, share):
        return True
    # the kernel of a training that was killed lives, and holds the run, a moment longer than it
    if not running(run) and (owner := run.lock_owner()):
        sentence = _("{run} is in use by process {pid} on {host}: waiting for it.")
        print(sentence.format(run=run.path.name, **owner), flush=True)
    while not running(run) and run.lock_owner():
        time.sleep(1)
    if not running(run):
        start(run, run.stored_config())
    while running(run):
        time.sleep(1)
        if share < 1 and _reached(run, share) and running(run):
            stop(run)
    return _reached(run, share)


def _reached(run: RunDir, share: float) -> bool:
    if share == 1:
        return run.trained.exists() and not running(run)
    return run.trained.exists() or loss_at(read_run(run), share) is not None


def _another(old: str) -> str:
    """Who works in this runs directory in the place of the sweep of `old`, in a sentence; "" for nobody, or itself."""
    owner = owner_of(_lock())
    if not owner or owner["task"] == f"sweep of {old}":
        return ""
    sentence = _("waits for the {task}, process {pid} on {host}: one sweep at a time in a runs directory")
    return sentence.format(**owner)


def _lock() -> Path:
    return runs_root() / ".sweeps" / "lock"


def _folder(old: str) -> Path:
    folder = runs_root() / ".sweeps" / old
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _listed(old: str, name: str) -> list[str]:
    file = _folder(old) / f"{name}.json"
    return read_json(file) if file.exists() else []


if __name__ == "__main__":
    work(sys.argv[1])
