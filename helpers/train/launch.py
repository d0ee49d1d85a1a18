"""Notebook 04 as a process of its own: it goes on when the tab, the kernel or Jupyter is closed.

process = start(run, config)      # in a cell; a second start of a live run is refused
Table(watch(run, config))         # in another, as often as you like, also after a restart
stop(run)                         # asks for a checkpoint first
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from helpers.files import read_json, read_jsonl, write_atomic, write_json
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_time

FSDP = (
    "--use_fsdp --fsdp_version 2 --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP --fsdp_state_dict_type FULL_STATE_DICT"
)
FSDP = [*FSDP.split(), "--fsdp_cpu_ram_efficient_loading", "false"]  # it does nothing for 4-bit weights
NOTEBOOK = PROJECT_ROOT / "notebooks" / "04_qlora_training.ipynb"


def start(run: RunDir, config: RunConfig, processes: int = 1, then: str = "", sharded: bool = False) -> int:
    """Run notebook 04 on `run` in a session of its own and give its process id; the log is launch.log in the run directory.

    With `processes` > 1 its code runs as a script under `accelerate launch`, one process per GPU, each with the whole
    model (DDP); with `sharded` too, each with a part of every layer (FSDP2). `then` is a shell command, such as `runpodctl pod stop $RUNPOD_POD_ID`; it runs when the adapter has been
    saved, whatever the rest of the notebook does after that.
    Raises RuntimeError when the run is already being trained, ValueError for settings that cannot be sharded.
    """
    if sharded:
        require_shardable(config, processes)
    if owner := running(run) or run.lock_owner():
        raise RuntimeError(
            f"{run.path.name} is already being trained, by process {owner['pid']}: watch it, stop it, "
            "or choose another run with QLORA_RUN_NAME."
        )
    run.require(run.config_json, produced_by="03_data_preview.ipynb")
    variables = {"QLORA_PRESET": config.preset, "QLORA_RUN_NAME": run.path.name, "QLORA_RUNS_DIR": str(run.path.parent)}
    command = f"{shlex.join(_command(run, config, processes, sharded))}; echo $? > launch.exit"
    if then:  # after the exit is written down: it may stop this very machine
        command += f"; if [ -e {run.trained.name} ]; then bash -c {shlex.quote(then)}; echo $? > launch.then; fi"
    for left in (
        *(run.path / f"launch.{name}" for name in ("exit", "then")),
        run.trained,
        run.stop_request,
        run.stopped,
    ):
        left.unlink(missing_ok=True)
    return detach(["bash", "-c", command], run.path, {**os.environ, **variables})


def detach(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Run `command` in `folder` in a session of its own; the log is launch.log there, and launch.json says who it is."""
    with (folder / "launch.log").open("a") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # neither the kernel's end nor a closed terminal reaches it
        )
    owner = {"pid": process.pid, "host": socket.gethostname(), "born": _born(process.pid), "started": time.time()}
    write_json(folder / "launch.json", owner)
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
    if trains := run.lock_owner():  # let it finish the step and save
        write_atomic(run.stop_request, str(trains["pid"]))
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
        owner = read_json(run.path / "launch.json")
    except FileNotFoundError:
        return None
    here = owner.get("host") == socket.gethostname()  # a process id of another pod says nothing about this one
    born = _born(owner["pid"])
    return owner if here and born is not None and owner["born"] == born else None


def require_shardable(config: RunConfig, processes: int) -> None:
    """Raises ValueError when a training by FSDP2 would fail on the cards, or would only be slower there."""
    if processes < 2:
        raise ValueError(
            f"sharded=True with processes={processes}: there is nothing to share; give processes=, one per GPU."
        )
    if not config.optim.startswith(
        "adamw_torch"
    ):  # bitsandbytes' kernels: "does not have a sharding strategy registered"
        raise ValueError(
            f"optim={config.optim!r} cannot update a part of a weight: start a new run with optim='adamw_torch'. "
            "Under FSDP its states are shared over the cards as well."
        )


def notebook_script(notebook: Path, sharded: bool = False) -> str:
    """The code cells of a notebook as one Python script, cell by cell; with `sharded` those that need no whole model."""
    cells = [cell for cell in read_json(notebook)["cells"] if cell["cell_type"] == "code"]
    whole = "whole-model"  # the tag of a cell that loads the model once more, onto one card
    code = ["".join(cell["source"]) for cell in cells if not (sharded and whole in cell["metadata"].get("tags", []))]
    return "\n\n\n".join(f"# %%\n{source}" for source in code) + "\n"


def _command(run: RunDir, config: RunConfig, processes: int, sharded: bool) -> list[str]:
    if processes == 1:
        return [sys.executable, "-m", "helpers.train.launch", config.preset]
    script = run.path / "04_qlora_training.py"
    write_atomic(script, notebook_script(NOTEBOOK, sharded))
    return [sys.executable, *launch_options(processes, sharded), str(script)]


def launch_options(processes: int, sharded: bool = False) -> list[str]:
    """The part of an `accelerate launch` command between Python and the script: DDP, or FSDP2 with `sharded`."""
    how = FSDP if sharded else ["--multi_gpu"]
    how = [*how, *"--mixed_precision no --dynamo_backend no".split()]
    where = ["--num_machines", "1", "--num_processes", str(processes), "--main_process_port", "0"]
    return ["-m", "accelerate.commands.launch", *how, *where]


def _state(run: RunDir) -> str:
    if running(run):
        return "running"
    if not (run.path / "launch.json").exists():
        return "not started"
    result, after = (run.path / f"launch.{name}" for name in ("exit", "then"))
    if run.trained.exists():
        if result.exists() and result.read_text().strip() != "0":
            return "finished; what the notebook did after the training failed: the end of launch.log says why"
        if after.exists() and after.read_text().strip() != "0":
            return "finished; the command to run after it failed: the end of launch.log says why"
        return "finished"
    if not result.exists():
        return "killed: start it again, it resumes from its last complete checkpoint"
    return "stopped with a checkpoint" if run.stopped.exists() else "failed: the end of launch.log says why"


def _born(pid: int) -> int | None:
    """When the live process `pid` began, in clock ticks since the machine did; None when there is none alive.

    Unlike a date it stays the same number when the clock is set. Source: proc(5), fields 3 and 22 of /proc/PID/stat.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])  # Z: only its unread exit status is left


if __name__ == "__main__":
    from helpers.series import run_notebooks

    run_notebooks([NOTEBOOK], sys.argv[1])
