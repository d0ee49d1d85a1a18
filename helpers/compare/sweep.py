"""Many forks, trained one after the other by a process of its own; those that are clearly worse stop early.

sweep("demo", learning_rate=[1e-4, 1e-3], lora_r=[4, 16])     # forks, queue and process; again after a kill: it goes on
Table(standing("demo"))                                       # where it is, from the disk

Successive halving (Jamieson & Talwalkar, Non-stochastic Best Arm Identification, 2016): all are trained to a quarter, the
better half goes on to the half, and the better half of these to the end. A run that stops keeps its checkpoint, and goes on
exactly where it was. Nothing is remembered but what lies in runs/.sweeps/ and in the runs.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from helpers.compare.runs import Trial, read_run, read_runs
from helpers.evaluate.intervals import MARGINS
from helpers.fields import Stage
from helpers.files import read_json, write_json
from helpers.paths import PROJECT_ROOT, runs_root
from helpers.runs import RunDir, fork
from helpers.runs.directory import fork_command, fork_name
from helpers.settings import OTHER_VARIABLES, names_of
from helpers.train.launch import detach, running, start, stop

ROUNDS = (0.25, 0.5, 1.0)  # shares of the steps, after which the worse half stops
CLOSE = MARGINS["NLL per token"]  # nats: a run as near as this to the last one that goes on goes on too


def sweep(old: str, **choices: list) -> list[str]:
    """Fork `old` for every combination of `choices` and train the forks in a process of its own; gives their names.

    The same call again goes on after a kill; another one adds its forks to the queue of `old`.
    """
    names = [_fork_once(old, changes) for changes in combinations(**choices)]
    queued = _listed(old, "queue")
    write_json(_folder(old) / "queue.json", queued + [name for name in names if name not in queued])
    if running(RunDir(_folder(old))):
        print(f"{len(names)} runs are in the queue of {old}, which is being worked on.")
    else:
        settings = {k: v for k, v in os.environ.items() if not k.startswith("QLORA_") or k in OTHER_VARIABLES}
        paths = {"QLORA_RUNS_DIR": str(runs_root()), "PYTHONPATH": f"{PROJECT_ROOT}:{os.environ.get('PYTHONPATH', '')}"}
        process = detach([sys.executable, "-m", "helpers.compare.sweep", old], _folder(old), {**settings, **paths})
        print(f"{len(names)} runs are in the queue; process {process} trains them, whatever happens to this notebook.")
    return names


def combinations(**choices: list) -> list[dict]:
    """Every combination of the values, as the changes of a fork.

    Raises ValueError for a choice that is no list of values, and for settings that change the data: such runs could not be
    compared.
    """
    if shaped := sorted(choices.keys() & set(names_of(Stage.DATA, Stage.LABELS))):
        raise ValueError(
            f"{', '.join(shaped)} may change the held-out rows, so these runs could not be compared: fork by hand, and run 03 "
            "for each."
        )
    if bad := [name for name, values in choices.items() if not isinstance(values, (list, tuple)) or not values]:
        raise ValueError(f"{bad[0]}={choices[bad[0]]!r} is no list of values: write {bad[0]}=[...].")
    if not choices:
        raise ValueError("A sweep needs at least one setting with its values, such as learning_rate=[1e-4, 1e-3].")
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def standing(old: str) -> list[dict]:
    """Where the sweep stands, as rows of a table: run, state, held-out loss after each round, and what became of it."""
    queue, failed = _listed(old, "queue"), _listed(old, "failed")
    trials = {trial.name: trial for trial in read_runs() if trial.name in queue}
    out = dict.fromkeys(failed, "failed: the end of its launch.log says why")
    names = [name for name in queue if name in trials and name not in failed]
    for share in ROUNDS[:-1]:
        staying = survivors([trials[name] for name in names], share)
        if staying is None:
            break
        out |= {name: f"stopped after {share:.0%}: clearly worse" for name in names if name not in staying}
        names = staying
    rows = []
    for name in (name for name in queue if name in trials):
        loss = {f"at {share:.0%}": loss_at(trials[name], share) for share in ROUNDS}
        rows.append({"run": name, "state": out.get(name, trials[name].state), **loss})
    return rows


def survivors(trials: list[Trial], share: float) -> list[str] | None:
    """The names that go on after the round `share`: the better half, and whoever is as good within `CLOSE`.

    None while one of them has not come so far: then nobody is judged.
    """
    losses = {trial.name: loss_at(trial, share) for trial in trials}
    if None in losses.values() or not losses:
        return None
    ranked = sorted(losses, key=losses.get)
    limit = losses[ranked[(len(ranked) + 1) // 2 - 1]] + CLOSE
    return [name for name in losses if losses[name] <= limit]


def loss_at(trial: Trial, share: float) -> float | None:
    """Its held-out loss (nats per token) at the first evaluation from that share of its steps on; None before that.

    Of a training that `patience` has ended earlier, the last one.
    """
    reached = [loss for step, loss in trial.curve if step and step >= share * trial.steps]
    ended = [loss for _, loss in trial.curve[-1:] if trial.state == "trained"]
    return next(iter(reached or ended), None)


def work(old: str) -> None:
    """Train the queue of `old`, round by round, until nothing is left to do; one worker at a time in a runs directory."""
    with FileLock(_folder(old).parent / "lock"):
        failed, done = [], None
        write_json(_folder(old) / "failed.json", failed)
        while done != (queue := _listed(old, "queue")):  # runs may be added meanwhile
            names = [name for name in queue if name not in failed]
            for share in ROUNDS:
                for name in names:
                    if not _train_until(name, share):
                        print(
                            f"{name} failed: the end of its launch.log says why. The sweep goes on without it.",
                            flush=True,
                        )
                        failed.append(name)
                        write_json(_folder(old) / "failed.json", failed)
                trials = {trial.name: trial for trial in read_runs()}
                names = [name for name in names if name not in failed]
                if share < ROUNDS[-1] and names:
                    names = survivors([trials[name] for name in names], share)
                print(f"after {share:.0%}: {', '.join(names) or 'none'}", flush=True)
            done = queue


def pods(old: str, **choices: list) -> list[str]:
    """The same forks as SkyPilot jobs, one pod each, into one runs directory on the volume: the command lines.

    `old` must lie there after 03. Try one with `sky launch --dryrun` first.
    """
    config, lines = RunDir(runs_root() / old).stored_config(), []
    for changes in combinations(**choices):
        replace(config, **changes)  # raises ValueError for a bad value, before anything is rented
        name = fork_name(old, changes)
        cluster = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower()).strip("-")
        if len(cluster) > 40:  # cut, two jobs might have one name, and the second would go to the first one's pod
            cluster = f"{cluster[:31].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        fork_words = fork_command(old, changes).split("fork ", 1)[1]
        variables = {
            "QLORA_PRESET": config.preset,
            "QLORA_RUN_NAME": name,
            "FORK": f"'{fork_words}'",
            "NOTEBOOKS": "04",
        }
        given = " ".join(f"--env {key}={value}" for key, value in variables.items())
        lines.append(f"sky launch -d -y -c {cluster} pod.yaml {given} --secret HF_TOKEN")
    return lines


def _fork_once(old: str, changes: dict) -> str:
    """The fork's name; made unless it is there. Raises ValueError when the run of that name has other settings."""
    name = fork_name(old, changes)
    run, source = RunDir(runs_root() / name), RunDir(runs_root() / old)
    source.require(source.train_jsonl, source.data_report, produced_by="03_data_preview.ipynb")
    if not run.config_json.exists():
        fork(old, name, chosen=False, **changes)
    found = run.stored_config()
    if changed := found.differences(replace(found, **changes)):
        raise ValueError(f"The run {name} has other settings ({', '.join(changed)}): delete {run.path}.")
    return name


def _train_until(name: str, share: float) -> bool:
    """Train the run until it has been evaluated at that share of its steps; False when it ended before."""
    run = RunDir(runs_root() / name)
    if _reached(run, share):
        return True
    if not running(run) and (owner := run.lock_owner()):
        # a notebook, or the kernel of a training that was killed: it lives a moment longer, and holds the run
        print(f"{name} is in use by process {owner['pid']} on {owner['host']}: waiting for it.", flush=True)
        while run.lock_owner():
            time.sleep(1)
        return _train_until(name, share)
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


def _folder(old: str) -> Path:
    folder = runs_root() / ".sweeps" / old
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _listed(old: str, name: str) -> list[str]:
    file = _folder(old) / f"{name}.json"
    return read_json(file) if file.exists() else []


if __name__ == "__main__":
    work(sys.argv[1])
