"""Notebook 04 as a process of its own: it goes on when the tab, the kernel or Jupyter is closed.

process = start(run, config)      # in a cell; a second start of a live run is refused
Table(watch(run, config))         # in another, as often as you like, also after a restart
stop(run)                         # asks for a checkpoint first
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers.config import PROJECT_ROOT, RunConfig
from helpers.files import read_jsonl, write_atomic, write_json
from helpers.report import human_time
from helpers.runs import RunDir

NOTEBOOK = PROJECT_ROOT / "notebooks" / "04_qlora_training.ipynb"
FSDP = PROJECT_ROOT / "accelerate_fsdp_qlora.yaml"


def start(run: RunDir, config: RunConfig, processes: int = 1, sharded: bool = False, then: str = "") -> int:
    """Run notebook 04 on `run` in a session of its own and give its process id; the log is launch.log in the run directory.

    With `processes` > 1 its code runs as a script under `accelerate launch`, one process per GPU: each holds the whole
    model (DDP), or with `sharded` a part of it (FSDP, for a model larger than one card). `then` is a shell command run
    when the training has ended well, such as `runpodctl stop pod $RUNPOD_POD_ID`.
    Raises RuntimeError when the run is already being trained.
    """
    if owner := running(run) or run.lock_owner():
        raise RuntimeError(
            f"{run.path.name} is already being trained, by process {owner['pid']}: watch it, stop it, "
            "or choose another run with QLORA_RUN_NAME."
        )
    run.require(run.config_json, produced_by="03_data_preview.ipynb")
    variables = {"QLORA_PRESET": config.preset, "QLORA_RUN_NAME": run.path.name, "QLORA_RUNS_DIR": str(run.path.parent)}
    command = (
        f"{_quoted(_command(run, config, processes, sharded))}{f' && {then}' if then else ''}; echo $? > launch.exit"
    )
    (run.path / "launch.exit").unlink(missing_ok=True)
    with (run.path / "launch.log").open("a") as log:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=run.path,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # neither the kernel's end nor a closed terminal reaches it
        )
    write_json(run.path / "launch.json", {"pid": process.pid, "started": time.time(), "created": _created(process.pid)})
    return process.pid


def watch(run: RunDir, config: RunConfig) -> list[dict]:
    """Where the detached training stands, as rows of a table: state, step, loss, speed, time left, cost so far."""
    rows = read_jsonl(run.metrics) if run.metrics.exists() else []
    steps = [row for row in rows if "loss" in row]
    state = _state(run)
    facts = [{"fact": "state", "value": state}]
    if not steps:
        return facts
    last, done = steps[-1], steps[-1]["step"] / steps[-1]["max_steps"]
    held_out = [row["eval_loss"] for row in rows if "eval_loss" in row]
    facts += [
        {"fact": "step", "value": f"{last['step']} of {last['max_steps']}"},
        {"fact": "training loss", "value": last["loss"]},
        {"fact": "held-out loss", "value": held_out[-1] if held_out else None},
        {"fact": "tokens/s", "value": last["tokens_per_second"]},
        {"fact": "time so far", "value": human_time(rows[-1]["elapsed_s"])},
    ]
    if state == "running":
        facts.append({"fact": "time left", "value": human_time(last["elapsed_s"] * (1 - done) / done)})
    if config.price_per_hour:
        facts.append({"fact": "cost so far", "value": rows[-1]["elapsed_s"] / 3600 * config.price_per_hour})
    return facts


def stop(run: RunDir, patience: float = 600) -> str:
    """End the detached training with a checkpoint; after `patience` seconds without one, end it all the same.

    Gives the state it ended in. Raises RuntimeError when nothing is running.
    """
    if (owner := running(run)) is None:
        raise RuntimeError(f"{run.path.name} has no detached training to stop.")
    if run.lock_owner():  # it is training: let it finish the step and save
        write_atomic(run.trainer / "stop.request", "")
        deadline = time.monotonic() + patience
        while running(run) and time.monotonic() < deadline:
            time.sleep(0.5)
    if running(run):
        os.killpg(owner["pid"], signal.SIGTERM)
        time.sleep(1)
    return _state(run)


def running(run: RunDir) -> dict | None:
    """The live detached process of `run` (pid, started in Unix seconds); None when there is none."""
    try:
        owner = json.loads((run.path / "launch.json").read_text())
    except FileNotFoundError:
        return None
    return owner if _created(owner["pid"]) == owner["created"] else None


def notebook_script(notebook: Path) -> str:
    """The code cells of a notebook as one Python script, cell by cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "\n\n\n".join(f"# %%\n{source}" for source in code) + "\n"


def _command(run: RunDir, config: RunConfig, processes: int, sharded: bool) -> list[str]:
    if processes == 1:
        return [sys.executable, "-m", "helpers.train.launch", config.preset]
    script = run.path / "04_qlora_training.py"
    write_atomic(script, notebook_script(NOTEBOOK))
    return [sys.executable, *launch_options(processes, sharded), str(script)]


def launch_options(processes: int, sharded: bool = False) -> list[str]:
    """The part of an `accelerate launch` command between Python and the script."""
    how = ["--config_file", str(FSDP)] if sharded else "--multi_gpu --mixed_precision no --dynamo_backend no".split()
    where = ["--num_machines", "1", "--num_processes", str(processes), "--main_process_port", "0"]
    return ["-m", "accelerate.commands.launch", *how, *where]


def _state(run: RunDir) -> str:
    if running(run):
        return "running"
    if not (run.path / "launch.json").exists():
        return "not started"
    result = run.path / "launch.exit"
    if not result.exists():
        return "killed: start it again, it resumes from its last complete checkpoint"
    if result.read_text().strip() == "0":
        return "finished"
    stopped = (run.trainer / "stop.request").exists()
    return "stopped with a checkpoint" if stopped else "failed: the end of launch.log says why"


def _created(pid: int) -> float | None:
    """When the live process `pid` was created; None when there is none (or only its unread exit status)."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _quoted(command: list[str]) -> str:
    import shlex

    return shlex.join(command)


if __name__ == "__main__":
    from helpers.series import run_notebooks

    run_notebooks([NOTEBOOK], sys.argv[1])
