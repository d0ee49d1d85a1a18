"""One run chosen once, and a new run like another one but for some settings."""

import json
import re
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from helpers.data.labels import JUDGED
from helpers.files import write_json
from helpers.paths import runs_root
from helpers.runs import (
    AFTER_MERGING,
    AFTER_TRAINING,
    SHAPES_THE_DATA,
    SHAPES_THE_TRAINING,
    RunDir,
    choose,
    fork,
    fork_command,
)
from helpers.settings import RunConfig


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of preset tiny, as small as a run can be."""
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    run = RunDir.open(RunConfig.load("tiny"))
    run.save_config(RunConfig.load("tiny", model_revision="sha256:a", dataset_revision="sha256:b"))
    for path in (
        run.train_jsonl,
        run.eval_jsonl,
        run.metrics,
        run.adapter / "a",
        run.trainer / "checkpoint-1" / "b",
        run.merged / "c",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    for path in (run.data_report, run.trained, run.merge_report):
        write_json(path, {})
    return run


def test_the_chosen_run_is_the_one_that_notebooks_open(run, monkeypatch, capsys):
    fork("tiny", "rank-2", lora_r=2)
    monkeypatch.delenv("QLORA_PRESET")  # a notebook opened by a person: its cell says demo
    config = RunConfig.load("demo")
    assert (config.run_name, config.preset, config.lora_r) == ("rank-2", "tiny", 2)
    assert config.told() == "Run rank-2 (chosen in runs/.current): preset tiny with lora_r=2 (preset 8)."
    assert RunConfig.load("tiny", lora_r=4).told().endswith("preset tiny with lora_r=4 (preset 8).")
    assert RunConfig.load("llama2-7b").run_name == "llama2-7b"  # another preset was asked for
    assert RunConfig.load("demo", run_name="mine").lora_r == 16
    assert RunConfig.load("demo", model_id="some/model").run_name == "demo-model"
    assert RunConfig.load("demo", model_id=config.model_id).run_name == "rank-2"
    monkeypatch.setenv("QLORA_PRESET", "demo")
    assert RunConfig.load("demo").run_name == "demo"
    monkeypatch.setenv("QLORA_PRESET", "tiny")
    assert RunConfig.load("tiny").run_name == "rank-2"
    monkeypatch.setenv("QLORA_RUN_NAME", "tiny")
    assert RunConfig.load("tiny").run_name == "tiny" and RunConfig.load("tiny").lora_r == 8


def test_a_run_can_be_chosen_before_it_exists_and_given_up(run, capsys):
    choose("new")
    assert "new, which is new" in capsys.readouterr().out
    config = RunConfig.load("tiny")
    assert config.run_name == "new" and RunDir.open(config).start_config(config).run_name == "new"
    assert capsys.readouterr().out.startswith("Run new (chosen in runs/.current): preset tiny as it is.")
    choose("")
    assert RunConfig.load("tiny").run_name == "tiny"
    with pytest.raises(ValueError, match="run_name='a/b' cannot be a folder"):
        choose("a/b")
    assert RunConfig.load("tiny").run_name == "tiny"


def test_00_and_03_keep_the_settings_of_a_chosen_fork(run):
    fork("tiny", "rank-2", lora_r=2)
    config = RunConfig.load("tiny")
    RunDir.open(config).save_config(config)  # 00 begins the run anew
    assert RunDir.open(config).load_config().lora_r == 2


@pytest.mark.parametrize(
    ("changes", "told", "shared"),
    [
        ({"max_length": 64}, "Run 03 first.*max_length", ()),
        ({"seed": 1}, "Run 03 first.*seed", ()),
        ({"lora_r": 2, "learning_rate": 1e-3}, "same data and verdicts. Run 04 first", "data/train.jsonl data/eval.jsonl"),
        ({"eval_steps": 5}, "Run 04 first", "data/train.jsonl data/eval.jsonl"),
        ({}, "nothing changed. It has the same data and verdicts. Run 04 first", "data/train.jsonl"),
        ({"merge_method": "16bit-base"}, "Run 05 first", "data/eval.jsonl adapter/a trainer/checkpoint-1/b"),
        ({"merge_method": "16bit-base", "lora_r": 2}, "Run 04 first", "data/eval.jsonl"),
        ({"temperature": 0.8}, "Run 06 first", "adapter/a merged/c"),
    ],
)  # fmt: skip
def test_a_fork_shares_what_stays_and_says_what_is_to_be_done_again(run, capsys, changes, told, shared):
    new = fork("tiny", "other", **changes)
    assert re.search(told, capsys.readouterr().out)
    kept = set(shared.split() if shared else ())
    for name in ("data/train.jsonl", "adapter/a", "trainer/checkpoint-1/b", "merged/c"):
        path = new.path / name
        assert path.exists() or name not in kept
        if path.exists():
            assert path.samefile(run.path / name)  # a hard link takes no room
    assert (new.adapter.exists(), new.merged.exists()) == ("adapter/a" in kept, "merged/c" in kept)
    assert not new.metrics.exists() or not new.metrics.samefile(run.metrics)  # 04 appends to it
    stored = json.loads(new.config_json.read_text())
    assert stored["run_name"] == "other" and {name: stored[name] for name in changes} == changes
    assert stored["model_revision"] == "sha256:a"


def test_a_fork_with_more_passes_is_not_held_back_by_the_presets_steps(run):
    assert run.stored_config().max_steps > 0
    assert fork("tiny", "long", num_train_epochs=2).stored_config().max_steps == -1
    assert fork("tiny", "both", num_train_epochs=2, max_steps=5).stored_config().max_steps == 5


def test_another_model_has_no_recorded_revision(run):
    stored = json.loads(fork("tiny", "other", model_id="some/model").config_json.read_text())
    assert (stored["model_revision"], stored["dataset_revision"]) == ("", "sha256:b")


@pytest.mark.parametrize(
    ("arguments", "changes", "error", "told"),
    [
        (("none", "new"), {}, FileNotFoundError, "config.json is missing.*none"),
        (("tiny", "tiny"), {}, ValueError, "'tiny' is already there"),
        (("tiny", "new"), {"lora_rank": 2}, ValueError, "lora_rank is no setting"),
        (("tiny", "new"), {"lora_r": "two"}, ValueError, "lora_r='two' is not of type int"),
        (("tiny", "new"), {"run_name": "x"}, ValueError, "run_name cannot be changed"),
        (("tiny", "a/b"), {}, ValueError, "run_name='a/b' cannot be a folder"),
    ],
)
def test_a_fork_that_cannot_be_is_refused_and_leaves_nothing(run, arguments, changes, error, told):
    before = sorted(runs_root().rglob("*"))
    with pytest.raises(error, match=told):
        fork(*arguments, **changes)
    assert sorted(runs_root().rglob("*")) == before


def test_the_refusal_prints_the_line_that_makes_the_fork(run):
    with pytest.raises(ValueError, match="already holds a training") as refused:
        run.save_config(replace(run.stored_config(), lora_r=2, dataset_id="my data.csv", temperature=0.5))
    line = refused.value.args[0].splitlines()[1]
    assert line == fork_command("tiny", {"dataset_id": "my data.csv", "lora_r": 2, "temperature": 0.5})
    line = line.replace("python", sys.executable, 1)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    name = next(path.parent.name for path in runs_root().glob("*/config.json") if path.parent != run.path)
    config = RunConfig.load("tiny")  # it was chosen
    assert config.run_name == name and name in done.stdout
    assert (config.lora_r, config.dataset_id, config.temperature) == (2, "my data.csv", 0.5)


def test_a_wrong_command_says_how_and_changes_nothing(run):
    for words, code in ((["fork", "tiny"], 2), (["fork", "tiny", "new", "lora_r"], 2), (["fork", "none", "new"], 1)):
        done = subprocess.run([sys.executable, "-m", "helpers.runs", *words], capture_output=True, text=True)
        assert done.returncode == code and "Traceback" not in done.stderr and done.stderr.strip()


def test_each_setting_is_known_to_the_fork():
    """A new setting of the data must be added here or there: a fork that shared stale data would be wrong in silence."""
    names = [f.name for f in fields(RunConfig)]
    about_data = names[names.index("dataset_id") : names.index("load_in_4bit")]
    harmless = {"dataset_streaming", "packing", "allow_label_issues"}
    assert set(about_data) - harmless <= set(SHAPES_THE_DATA) and set(JUDGED) <= set(SHAPES_THE_DATA)
    assert {*SHAPES_THE_DATA, *AFTER_TRAINING, *AFTER_MERGING} <= set(names)
    assert not {*SHAPES_THE_DATA, *SHAPES_THE_TRAINING} & {*AFTER_TRAINING, *AFTER_MERGING}
