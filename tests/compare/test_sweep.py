"""A sweep: its forks, its queue, halving, a kill. The training itself is a stand-in of seconds."""

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.compare.choices import combinations, make_fork, planned, pods
from helpers.compare.runs import Trial, read_run, read_runs
from helpers.compare.sweep import loss_at, standing, survivors, sweep, work
from helpers.fields import BadSetting
from helpers.files import read_jsonl, write_json
from helpers.model.refusal import Refused
from helpers.paths import chosen_run, runs_root
from helpers.runs import RunDir
from helpers.runs.__main__ import main
from helpers.settings import RunConfig
from helpers.train import launch
from helpers.train.arguments import sft_arguments
from tests.compare.made_runs import make_run

# what may change the held-out rows or the length of a training, and what changes no training
UNFAIR = "seed max_length eval_steps max_steps num_train_epochs patience"
UNFAIR += " logging_steps save_steps price_per_hour temperature max_new_tokens"
# 40 steps, the better the larger the rank; rank 13 fails
TRAINING = """
import json, pathlib, sys, time
from helpers.files import read_jsonl
from helpers.runs import RunDir
from helpers.runs.__main__ import main
run = RunDir(pathlib.Path.cwd())
rank = json.loads(run.config_json.read_text())["lora_r"]
assert rank != 13
with run.lock("training"):
    run.trainer.mkdir(exist_ok=True)
    done = read_jsonl(run.metrics)[-1]["step"] if run.metrics.exists() else 0
    for step in range(done + 4, 41, 4):
        row = {"step": step, "max_steps": 40, "eval_loss": 2 + 1 / rank + 1 / step, "elapsed_s": step}
        run.metrics.open("a").write(json.dumps(row) + "\\n")
        if run.stop_request.exists():
            run.stop_request.rename(run.stopped)
            sys.exit(1)
        time.sleep(0.3)
    run.adapter.mkdir(exist_ok=True)
    run.trained.write_text("{}")
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    run = make_run("tiny", None)
    for path in (run.train_jsonl, run.eval_jsonl, run.data_report):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}\n")
    return run


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    monkeypatch.setattr(launch, "_command", lambda *args: [sys.executable, str(script)])
    return script


def queued(*ranks) -> list[str]:
    """The forks and the queue, as `sweep` makes them, without its process."""
    from helpers.compare.sweep import _folder

    forks = planned("tiny", lora_r=list(ranks))
    names = [make_fork("tiny", name, changes).path.name for name, changes in forks.items()]
    write_json(_folder("tiny") / "queue.json", names)
    return names


def steps(name: str) -> list[int]:
    path = RunDir(runs_root() / name).metrics
    return [row["step"] for row in read_jsonl(path)] if path.exists() else []


@pytest.mark.slow
def test_the_better_half_goes_on_and_a_failure_stops_nobody(run, stand_in, capsys):
    names = queued(1, 2, 4, 13, 16)
    work("tiny")
    states = {row["run"]: row["state"] for row in standing("tiny")}
    assert list(states) == names
    assert states["tiny-lora_r-16"] == "trained"
    assert states["tiny-lora_r-4"] == "stopped after 50%: its held-out loss was higher"
    assert states["tiny-lora_r-1"] == states["tiny-lora_r-2"] == "stopped after 25%: its held-out loss was higher"
    assert states["tiny-lora_r-13"].startswith("failed")
    assert 12 <= max(steps("tiny-lora_r-1")) < 40
    for name in names:  # what was stopped went on where it was
        assert steps(name) == sorted(set(steps(name)))
    before = {name: steps(name) for name in names}
    work("tiny")  # nothing is left to do
    assert before == {name: steps(name) for name in names}


@pytest.mark.slow
def test_a_killed_worker_leaves_a_training_that_the_next_one_takes_over(run, stand_in):
    queued(8, 9)  # as good as each other: both go to the end
    code = "import sys; from helpers.train import launch; "
    code += f"launch._command = lambda *a: [sys.executable, {str(stand_in)!r}]; "
    worker = subprocess.Popen([sys.executable, "-c", code + "from helpers.compare.sweep import work; work('tiny')"])
    while not steps("tiny-lora_r-8"):
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    work("tiny")
    assert {row["state"] for row in standing("tiny")} == {"trained"}
    for name in ("tiny-lora_r-8", "tiny-lora_r-9"):
        assert steps(name) == list(range(4, 41, 4))


@pytest.mark.slow
def test_a_run_that_another_process_holds_is_waited_for(run, stand_in, capsys):
    """So it is after a kill of the training: its kernel lives on for a moment. The worker died of it, and the sweep
    with it."""
    queued(8)
    fork = RunDir(runs_root() / "tiny-lora_r-8")
    hold = "import time, pathlib; from helpers.runs import RunDir\n"
    hold += f"with RunDir(pathlib.Path({str(fork.path)!r})).lock('x'): time.sleep(3)"
    holder = subprocess.Popen([sys.executable, "-c", hold])
    while not fork.lock_owner():
        time.sleep(0.05)
    work("tiny")
    assert holder.wait() == 0 and steps("tiny-lora_r-8") == list(range(4, 41, 4))
    assert f"tiny-lora_r-8 is in use by process {holder.pid}" in capsys.readouterr().out


def test_sweep_makes_forks_and_a_process_of_its_own(run, capsys, monkeypatch):
    monkeypatch.setenv("QLORA_LORA_R", "99")  # of this notebook: not of the sweep
    run.data_report.unlink()
    with pytest.raises(FileNotFoundError, match="data_report.json is missing"):
        sweep("tiny", learning_rate=[1e-3, 1e-2])
    write_json(run.data_report, {"verdicts": [{"ok": False, "check": "c", "measured": "m", "fix": "f"}]})
    names = sweep("tiny", learning_rate=[1e-3, 1e-2], lora_r=[2])
    assert names == ["tiny-learning_rate-0.001-lora_r-2", "tiny-learning_rate-0.01-lora_r-2"]
    worker = RunDir(runs_root() / ".sweeps" / "tiny")
    owner = json.loads((worker.path / "launch.json").read_text())
    assert os.getsid(owner["pid"]) == owner["pid"] and "which is being worked on" not in capsys.readouterr().out
    assert chosen_run() == "" and {t.name for t in read_runs()} == {"tiny", *names}
    assert RunConfig.from_json((runs_root() / names[0] / "config.json").read_text()).lora_r == 2
    sweep("tiny", lora_r=[2])
    assert "which is being worked on" in capsys.readouterr().out
    assert json.loads((worker.path / "queue.json").read_text()) == [*names, "tiny-lora_r-2"]
    variables = Path(f"/proc/{owner['pid']}/environ").read_text()
    assert "QLORA_LORA_R" not in variables and "QLORA_RUNS_DIR" in variables
    os.killpg(owner["pid"], signal.SIGKILL)
    for name in names:
        if running := launch.running(RunDir(runs_root() / name)):
            os.killpg(running["pid"], signal.SIGKILL)


@pytest.mark.parametrize(
    ("choices", "setting"),
    [
        ({}, ""),
        ({"lora_r": 4}, "lora_r"),
        ({"lora_r": []}, "lora_r"),
        ({"lora_r": [4, 0]}, "lora_r"),  # the last one is bad: the first is not made either
        ({"lora_r": [4], "optim": ["adamw_torch", 5]}, "optim"),
        ({"lora_rank": [1]}, "lora_rank"),
        ({"seeds": [1, -2]}, "training_seed"),
        ({"seeds": 3}, "training_seed"),
        ({"seeds": [3], "training_seed": [1, 2]}, "training_seed"),
        ({"optim": ["adamw_torch", "nope"]}, "optim"),
        ({"lr_scheduler_type": ["cosine", "nope"], "lora_r": [2]}, "lr_scheduler_type"),
        ({"lora_target_modules": ["q_proj", "nonsense"]}, "lora_target_modules"),
        *(({name: [1, 2]}, name) for name in UNFAIR.split()),
    ],
)
def test_what_cannot_be_swept_fairly_is_refused_before_a_fork_is_made(run, choices, setting):
    with pytest.raises((BadSetting, Refused)) as refused:
        sweep("tiny", **choices)
    assert refused.value.setting == setting
    assert [path.name for path in runs_root().iterdir() if path.is_dir() and path.name != ".sweeps"] == ["tiny"]


def test_runs_of_other_lengths_are_no_fair_race(run):
    config = run.stored_config()
    run.config_json.write_text(replace(config, max_steps=-1).to_json())
    run.train_jsonl.write_text("{}\n" * 100)
    with pytest.raises(BadSetting) as refused:
        planned("tiny", per_device_train_batch_size=[4, 8])
    assert refused.value.setting == "max_steps"
    assert {changes["eval_steps"] for changes in planned("tiny", lora_r=[2, 4]).values()} == {4}  # 13 steps
    with pytest.raises(BadSetting) as refused:  # how many rows there are once they are packed, nobody knows
        planned("tiny", packing=[True, False])
    assert refused.value.setting == "max_steps"


@pytest.mark.parametrize(("steps", "quarter"), [(40, 10), (42, 11), (72, 18), (3, 1), (1, 1)])
def test_all_are_measured_at_the_same_quarters(run, steps, quarter):
    run.config_json.write_text(replace(run.stored_config(), max_steps=steps).to_json())
    (changes,) = planned("tiny", lora_r=[2]).values()
    assert changes["eval_steps"] == quarter
    at = [next(step for step in range(quarter, 10**6, quarter) if step >= share * steps) for share in (0.25, 0.5)]
    assert steps < 3 or at[0] != at[1]


def test_values_that_are_the_same_are_one_run(run):
    names = list(planned("tiny", lora_r=[4, "4", 4, 2], learning_rate=[1e-3, "0.001"]))
    assert names == ["tiny-lora_r-4-learning_rate-0.001", "tiny-lora_r-2-learning_rate-0.001"]
    seed = run.stored_config().seed
    assert list(planned("tiny", seeds=[-1, seed, 7])) == ["tiny-training_seed--1", "tiny-training_seed-7"]
    assert combinations(lora_r=[2], seeds=[1, 2]) == [{"lora_r": 2, "training_seed": seed} for seed in (1, 2)]


def test_another_seed_of_the_training_leaves_the_data_as_it_is(run):
    (fork,) = planned("tiny", seeds=[7]).items()
    assert make_fork("tiny", *fork).train_jsonl.exists()
    config = make_fork("tiny", *fork).stored_config()
    assert sft_arguments(config)["seed"] == config.luck == 7 and config.seed == run.stored_config().seed
    assert sft_arguments(run.stored_config())["seed"] == run.stored_config().seed


def test_a_second_sweep_says_who_holds_the_lock(run, stand_in, capsys):
    from helpers.compare.sweep import _folder, _lock
    from helpers.runs.lock import hold

    queued(8)
    _folder("other")
    with hold(_lock(), "sweep of other"):
        (row,) = standing("tiny")
        assert f"sweep of other, process {os.getpid()}" in row["state"]
        code = "from helpers.compare.sweep import work; work('tiny')"
        waiting = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert f"sweep of other, process {os.getpid()}" in waiting.stdout.readline()
        waiting.kill()
    assert "sweep of" not in standing("tiny")[0]["state"]


def trial(name, *curve, steps=40, trained=False, **settings):
    settings = {"lora_alpha": int(name.encode().hex(), 16) % 60000 + 1, **settings}  # each is a setting of its own
    return Trial(name, RunConfig.load("tiny", **settings), "", trained, curve=list(curve), steps=steps)


def test_who_goes_on():
    at = {"a": 1.0, "b": 1.1, "c": 1.11, "d": 1.3, "e": 1.4}
    trials = [trial(name, (0, 3.0), (10, loss)) for name, loss in at.items()]
    assert survivors(trials, 0.25) == ["a", "b", "c"]  # three of five
    assert survivors(trials[:4], 0.25) == ["a", "b", "c"]  # two of four, and one that is as good
    assert survivors([*trials[:2], trials[3]], 0.25) == ["a", "b"]
    assert survivors([trials[0], trial("b", (10, 1.0199))], 0.25) == ["a", "b"]
    assert survivors([trials[0], trial("b", (10, 1.0201))], 0.25) == ["a"]
    assert survivors([*trials, trial("late", (0, 3.0), (8, 0.1))], 0.25) is None
    assert loss_at(trials[0], 0.5) is None and loss_at(trial("x", (20, 1.0), (40, 0.9)), 0.5) == 1.0
    assert loss_at(trial("early", (8, 1.2), trained=True), 1.0) == 1.2
    assert loss_at(trial("new", steps=None), 0.25) is None


@pytest.mark.parametrize(
    ("gap", "noise", "goes_on"),
    [
        (0.1, 0.01, False),  # higher in every row
        (0.1, 1.0, True),  # higher on average, and not proven
        (0.01, 0.0, True),  # proven, within the margin
        (0.03, 0.0, False),
    ],
)
def test_a_run_stops_when_its_rows_prove_it_worse(run, gap, noise, goes_on):
    def rows(add):
        return {f"row-{i}": [10 * (2 + add + noise * add * 10 * (-1) ** i), 10] for i in range(24)}

    trials = []
    for name, add in (("a", 0.0), ("b", gap)):
        write_json(RunDir(runs_root() / name).path / "trainer" / "rows-10.json", rows(add))
        trials.append(trial(name, (10, 2 + add)))
    assert survivors(trials, 0.25) == (["a", "b"] if goes_on else ["a"])
    seeds = [trials[0], *(trial(f"b{seed}", (10, 2 + gap), lora_alpha=9, training_seed=seed) for seed in (1, 2))]
    for name in ("b1", "b2"):
        write_json(RunDir(runs_root() / name).path / "trainer" / "rows-10.json", rows(gap))
    assert survivors(seeds, 0.25) == (["a", "b1", "b2"] if goes_on else ["a"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_the_worst(run, bad):
    fork = make_run("broken", [2.0] * 8)
    fork.metrics.write_text(json.dumps({"step": 10, "max_steps": 40, "eval_loss": bad}) + "\n")
    broken = read_run(fork)
    assert loss_at(broken, 0.25) == math.inf
    good = trial("a", (10, 5.0))
    assert survivors([broken, good], 0.25) == ["a"]
    assert survivors([good, broken, trial("b", (10, 9.0))], 0.25) == ["a", "b"]
    assert survivors([broken], 0.25) == ["broken"]


def test_seeds_of_one_setting_are_judged_together():
    """By its mean: the setting with the luckiest run is not the better one."""
    losses = {("a", 1): 1.0, ("a", 2): 1.4, ("b", 1): 1.15, ("b", 2): 1.16}
    seeds = [(name + str(seed), (10, loss), ord(name), seed) for (name, seed), loss in losses.items()]
    trials = [trial(name, point, lora_alpha=alpha, training_seed=seed) for name, point, alpha, seed in seeds]
    assert survivors(trials, 0.25) == ["b1", "b2"]


def pod(line: str) -> tuple[str, dict[str, str], list[str]]:
    """Cluster, variables and the words of the fork in a command line."""
    words = shlex.split(line)
    given = dict(word.split("=", 1) for word in words if "=" in word)
    return words[words.index("-c") + 1], given, shlex.split(given["FORK"])


@pytest.mark.parametrize(
    "choices",
    [
        {"lora_r": [2, 4], "learning_rate": [1e-3]},
        {"lora_r": [4, "4", 4]},
        {"lora_target_modules": ["q_proj,v_proj", "q_proj, v_proj"]},  # one name, if it were not signed
        {"lora_target_modules": ["q_proj, v_proj"], "optim": ["adamw_torch"]},
    ],
)
def test_the_same_forks_as_pods(run, choices):
    forks, clusters = planned("tiny", **choices), set()
    for line, (name, changes) in zip(pods("tiny", **choices), forks.items(), strict=True):
        cluster, given, words = pod(line)
        clusters.add(cluster)
        assert (given["QLORA_RUN_NAME"], given["NOTEBOOKS"], words[:2]) == (name, "04", ["tiny", name])
        assert main(["fork", *words]) == 0
        make_fork("tiny", name, changes)  # it is there: one with other settings would be refused
    assert len(clusters) == len(forks)


@pytest.mark.parametrize("choices", [{"lora_r": [0]}, {"optim": ["adamw_torch", "adamw_8bitt"]}, {"max_steps": [4]}])
def test_what_no_sweep_would_train_gets_no_pod(run, choices):
    with pytest.raises((BadSetting, Refused)) as refused:
        pods("tiny", **choices)
    assert refused.value.setting in choices
    run.data_report.unlink()
    with pytest.raises(FileNotFoundError, match="03_data_preview"):
        pods("tiny", lora_r=[4])


def test_no_two_pods_have_one_name(run):
    """Cut to 40 characters, all four were one cluster."""
    name = "나의-실험-of-a-long-name-that-goes-on-and-on"
    run.path.rename(run.path.with_name(name))
    lines = pods(name, learning_rate=[3e-4, 1e-3], lora_r=[4, 16])
    names = [line.split("-c ")[1].split()[0] for line in lines]
    assert len(set(names)) == 4 and all(len(name) <= 40 and name[0].isalnum() for name in names)
