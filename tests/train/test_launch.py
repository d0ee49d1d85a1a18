"""Notebook 04 as a detached process: started, watched, stopped with a checkpoint, started again, never twice."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import replace

import pytest

from helpers.files import read_jsonl
from helpers.runs import RunDir
from helpers.train import launch
from helpers.train.checkpoints import checkpoints, fault
from tests.conftest import edit_json


@pytest.fixture
def prepared(trained_run, tmp_path, monkeypatch):
    """A run directory after notebook 03, and its config."""
    run = RunDir(tmp_path / "detached")
    made = shutil.ignore_patterns("trainer", "adapter", "merged", "metrics.jsonl")
    shutil.copytree(trained_run.path, run.path, ignore=made)
    config = replace(run.stored_config(), price_per_hour=3.6)
    run.config_json.write_text(config.to_json())
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    yield run, config
    if owner := launch.running(run):
        os.killpg(owner["pid"], signal.SIGKILL)


def wait_until(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)


@pytest.mark.slow
def test_the_life_of_a_detached_training(prepared):
    run, config = prepared
    pid = launch.start(run, config)
    assert os.getsid(pid) == pid != os.getsid(0)  # a session of its own
    with pytest.raises(RuntimeError, match=rf"detached is already being trained, by process {pid}"):
        launch.start(run, config)
    wait_until(lambda: "step" in told(run, config) or launch.running(run) is None)
    facts = told(run, config)
    assert facts["state"] == "running" and facts["step"].endswith("of 40") and "time left" in facts
    assert launch.stop(run) == "stopped with a checkpoint"
    assert checkpoints(run.trainer) and fault(checkpoints(run.trainer)[0]) is None
    assert not (run.adapter / "adapter_model.safetensors").exists()
    with pytest.raises(RuntimeError, match="has no detached training to stop"):
        launch.stop(run)

    launch.start(run, config, then="touch pod-stopped")
    wait_until(lambda: launch.running(run) is None)
    facts = told(run, config)
    assert facts["state"] == "finished" and facts["step"] == "40 of 40", (run.path / "launch.log").read_text()[-2000:]
    seconds = read_jsonl(run.metrics)[-1]["elapsed_s"]
    assert facts["cost so far"] == pytest.approx(seconds / 1000, rel=1e-6)  # 3.6 per hour
    assert (run.adapter / "adapter_model.safetensors").exists() and (run.path / "pod-stopped").exists()


def test_a_failure_says_where_to_look(prepared, capsys):
    """Also with the request of an earlier sitting still there, which must not make it read "stopped"."""
    run, config = prepared
    edit_json(run.data_report, verdicts=[{"ok": False, "check": "c", "measured": "m", "fix": "f"}])
    run.trainer.mkdir()
    run.stop_request.touch()
    run.stopped.touch()
    launch.start(run, config, then="touch pod-stopped")
    wait_until(lambda: launch.running(run) is None)
    assert told(run, config)["state"] == "failed: the end of launch.log says why"
    assert "The labels are not fit to train on" in (run.path / "launch.log").read_text()
    assert not (run.path / "pod-stopped").exists() and "before this one" not in capsys.readouterr().out
    launch.start(run, config)  # the cell that looks starts it again: how it ended is not lost
    assert "The process before this one: failed: the end of launch.log says why." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "then", "state"),
    [
        ("touch trained.json", "", "finished"),
        ("touch trained.json; exit 3", "", "finished; what the notebook did after the training failed"),
        ("touch trained.json", "; exit 4", "finished; the command to run after it failed"),
        ("exit 3", "", "failed: the end of launch.log says why"),
        ("touch trainer/stopped; exit 1", "", "stopped with a checkpoint"),
    ],
)
def test_a_training_that_ended_well_is_finished_whatever_comes_after(prepared, monkeypatch, command, then, state):
    """The notebook is replaced by what it leaves behind: the adapter saved or not, and its exit status."""
    run, config = prepared
    run.trainer.mkdir()
    run.trained.touch()  # of an earlier sitting
    monkeypatch.setattr(launch, "_command", lambda *settings: ["bash", "-c", command])
    launch.start(run, config, then=f"touch pod-stopped{then}")
    wait_until(lambda: launch.running(run) is None)
    assert told(run, config)["state"].startswith(state)
    assert (run.path / "pod-stopped").exists() == state.startswith("finished")


def test_a_process_of_another_pod_or_another_birth_is_not_ours(prepared):
    """launch.json lies on a volume: its process id means nothing on another machine, nor after a new start of this one."""
    run, _ = prepared
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    mine = {"pid": sleeper.pid, "host": socket.gethostname(), "born": launch._born(sleeper.pid), "started": 0.0}
    nobody = {"pid": 2**22 + 1, "born": None}  # it had ended before its birth could be read
    for changed, alive in (({}, True), ({"host": "another-pod"}, False), ({"born": 1}, False), (nobody, False)):
        (run.path / "launch.json").write_text(json.dumps({**mine, **changed}))
        assert bool(launch.running(run)) is alive, changed
    sleeper.kill()
    (run.path / "launch.json").write_text(json.dumps(mine))
    wait_until(lambda: launch.running(run) is None)  # also before anybody has read its exit status
    sleeper.wait()


def told(run, config) -> dict:
    return {row["fact"]: row["value"] for row in launch.watch(run, config)}
