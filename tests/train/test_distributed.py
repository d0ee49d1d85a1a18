"""Notebook 04 as a script, on one process and on two (gloo, CPU): the same global batch gives the same losses."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from helpers.config import RunConfig
from helpers.files import read_jsonl
from helpers.runs import RunDir
from helpers.train.launch import NOTEBOOK, launch_options, notebook_script

# float32 and no dropout: the two differ in the order of sums, and in how the bfloat16 adapter is rounded after it
SETTINGS = {
    "compute_dtype": "float32",
    "lora_dropout": 0.0,
    "learning_rate": 1e-3,
    "max_steps": 6,
    "logging_steps": 1,
    "eval_steps": 6,
}
SETTINGS |= {"save_steps": 3, "sort_by_length": True}


def train(trained_run, folder, processes: int) -> list[dict]:
    run = RunDir(folder / f"on-{processes}")
    for name in ("data", "data_report.json"):
        copy = shutil.copytree if (trained_run.path / name).is_dir() else shutil.copy
        run.path.mkdir(exist_ok=True)
        copy(trained_run.path / name, run.path / name)
    values = json.loads(trained_run.config_json.read_text())
    batch = 8 // processes
    config = RunConfig(**{**values, **SETTINGS, "run_name": run.path.name, "per_device_train_batch_size": batch})
    run.save_config(config)
    launch(run, folder, processes)
    return read_jsonl(run.metrics)


def launch(run, folder, processes: int) -> str:
    """Notebook 04 as a script, on `processes`; what it printed."""
    script = run.path / "04.py"
    script.write_text(notebook_script(NOTEBOOK))
    command = [sys.executable, *(launch_options(processes) if processes > 1 else []), str(script)]
    # accelerate starts several processes for GPUs only; told to use the CPU in them, they talk by gloo
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment |= {"QLORA_RUNS_DIR": str(folder), "QLORA_RUN_NAME": run.path.name}
    done = subprocess.run(command, cwd=run.path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (run.adapter / "adapter_model.safetensors").exists() and not run.lock_file.exists()
    if processes > 1:
        names = {path.name for path in (run.trainer / "checkpoint-6").iterdir()}
        assert {"rng_state_0.pth", "rng_state_1.pth", "complete.json"} <= names
    return done.stdout


def test_two_processes_train_as_one(trained_run, tmp_path):
    one, two = train(trained_run, tmp_path, 1), train(trained_run, tmp_path, 2)
    losses = [[row["loss"] for row in rows if "loss" in row] for rows in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=5e-4) and len(losses[0]) == 6
    assert losses[0][-1] < losses[0][0]
    assert one[-1]["tokens"] == two[-1]["tokens"]

    # half of the run on two, the other half on one: no row is left out, no row comes twice
    run = RunDir(tmp_path / "on-2")
    shutil.rmtree(run.trainer / "checkpoint-6")
    told = launch(run, tmp_path, 1)
    assert "Resuming from checkpoint-3." in told and "gradient_accumulation_steps is 2 instead of 1" in told
    resumed = read_jsonl(run.metrics)
    assert [row["loss"] for row in resumed if "loss" in row] == pytest.approx(losses[1], rel=5e-4)
    assert resumed[-1]["tokens"] == two[-1]["tokens"]
