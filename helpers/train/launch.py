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
from helpers.runs.paid import cost, paid_seconds
from helpers.settings import RunConfig
from helpers.show.units import human_time
from helpers.show.words import N_, _

FSDP = (
    "--use_fsdp --fsdp_version 2 --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP --fsdp_state_dict_type FULL_STATE_DICT "
    "--fsdp_cpu_ram_efficient_loading false"  # it does nothing for 4-bit weights
)
RUNNING = N_("running")
ENDS = {  # launch.exit holds the exit status of the notebook, launch.then that of the command after it
    ".exit": N_("finished; what the notebook did after the training failed: the end of launch.log says why"),
    ".then": N_("finished; the command to run after it failed: the end of launch.log says why"),
}
NOTEBOOK = PROJECT_ROOT / "notebooks" / "04_qlora_training.ipynb"


def start(run: RunDir, config: RunConfig, processes: int = 1, then: str = "", sharded: bool = False) -> int:
    """Run notebook 04 on `run` in a session of its own and give its process id; the log is launch.log there.

    With `processes` > 1 as a script under `accelerate launch`, one process per GPU, each with the whole model (DDP) or,
    if `sharded`, a part of every layer (FSDP2). `then`: a shell command for when the adapter has been saved, such as
    `runpodctl pod stop $RUNPOD_POD_ID`. Raises RuntimeError for a run in training, ValueError where FSDP would fail.
    """
    if sharded:
        require_shardable(config, processes)
    if owner := running(run) or run.lock_owner():
        note = _("{run} is already being trained, by process {pid}: watch it, stop it, or set another QLORA_RUN_NAME.")
        raise RuntimeError(note.format(run=run.path.name, pid=owner["pid"]))
    run.require(run.config_json, produced_by="03_data_preview.ipynb")
    if (run.path / "launch.json").exists():
        print(_("The process before this one: {state}.").format(state=_(_state(run))))
    variables = {"QLORA_PRESET": config.preset, "QLORA_RUN_NAME": run.path.name, "QLORA_RUNS_DIR": str(run.path.parent)}
    command = f"{shlex.join(_command(run, config, processes, sharded))}; echo $? > launch.exit"
    if then:  # after the exit is written down: it may stop this very machine
        command += f"; if [ -e {run.trained.name} ]; then bash -c {shlex.quote(then)}; echo $? > launch.then; fi"
    for old in (*(run.path / f"launch{end}" for end in ENDS), run.trained, run.stop_request, run.stopped):
        old.unlink(missing_ok=True)
    return detach(["bash", "-c", command], run.path, {**os.environ, **variables})


def detach(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Run `command` in `folder` in a session of its own; the log is launch.log there, launch.json says who."""
    with (folder / "launch.log").open("a") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        # a session of its own: neither the kernel's end nor a closed terminal reaches it
        process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams)
    owner = {"pid": process.pid, "host": socket.gethostname(), "born": _born(process.pid), "started": time.time()}
    write_json(folder / "launch.json", owner)
    return process.pid


def watch(run: RunDir, config: RunConfig) -> list[dict]:
    """Where the detached training stands, as rows of a table: state, step, loss, speed, time left, cost so far."""
    state, last = _state(run), {}
    for row in read_jsonl(run.metrics) if run.metrics.exists() else []:
        last |= row  # the latest value of each name
    facts = {_("state"): _(state)}
    if "loss" in last:
        share, price = last["step"] / last["max_steps"], cost(last, config.price_per_hour, config.gpus)
        facts[_("step")] = _("{step} of {last}").format(step=last["step"], last=last["max_steps"])
        facts |= {_("training loss"): last["loss"], _("held-out loss"): last.get("eval_loss")}
        facts |= {_("tokens/s"): last["tokens_per_second"], _("time so far"): human_time(paid_seconds(last))}
        if state == RUNNING:
            facts[_("time left")] = human_time(last["elapsed_s"] * (1 - share) / share)
        if price is not None:
            facts[_("cost so far")] = price
    return [{"fact": name, "value": value} for name, value in facts.items()]


def stop(run: RunDir, patience: float = 600) -> str:
    """End the detached training with a checkpoint, or without one after `patience` seconds; the state it ended in.

    Raises RuntimeError when nothing is running.
    """
    owner = running(run)
    if owner is None:
        raise RuntimeError(_("{run} has no detached training to stop.").format(run=run.path.name))
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
    if owner.get("host") != socket.gethostname():  # a process id of another pod says nothing about this one
        return None
    born = _born(owner["pid"])
    return owner if born is not None and born == owner["born"] else None


def require_shardable(config: RunConfig, processes: int) -> None:
    """Raises ValueError when a training by FSDP2 would fail on the cards, or would only be slower there."""
    if processes < 2:
        sentence = _("sharded=True with processes={count}: there is nothing to share; give processes=, one per GPU.")
        raise ValueError(sentence.format(count=processes))
    if not config.optim.startswith("adamw_torch"):  # bitsandbytes' kernels have no sharding strategy
        sentence = _("optim={name!r} cannot update a part of a weight: start a new run with optim='adamw_torch'.")
        raise ValueError(sentence.format(name=config.optim))


def notebook_script(notebook: Path, sharded: bool = False) -> str:
    """The code cells of a notebook as one Python script, cell by cell; `sharded`: those without a whole model."""
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
    how = FSDP if sharded else "--multi_gpu"
    where = f"--num_machines 1 --num_processes {processes} --main_process_port 0"
    return f"-m accelerate.commands.launch {how} {where} --mixed_precision no --dynamo_backend no".split()


def _state(run: RunDir) -> str:
    """One of the sentences below, in English."""
    if running(run):
        return RUNNING
    if not (run.path / "launch.json").exists():
        return N_("not started")
    status = {file.suffix: file.read_text().strip() for file in run.path.glob("launch.*") if file.suffix in ENDS}
    if run.trained.exists():
        failed = [sentence for end, sentence in ENDS.items() if status.get(end, "0") != "0"]
        return failed[0] if failed else N_("finished")
    if ".exit" not in status:
        return N_("killed: start it again, it resumes from its last complete checkpoint")
    return N_("stopped with a checkpoint") if run.stopped.exists() else N_("failed: the end of launch.log says why")


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
