"""One run chosen once, and a new run like another one but for some settings."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from helpers.fields import BadSetting, Stage
from helpers.files import read_json, write_json
from helpers.paths import chosen_run, runs_root
from helpers.runs import RunDir, choose, fork
from helpers.runs.identity import OtherTraining, fork_command, fork_name
from helpers.runs.state import state
from helpers.settings import RULES, RunConfig


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of preset tiny, as small as a run can be."""
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    run = RunDir.open(RunConfig.load("tiny"))
    run.save_config(RunConfig.load("tiny", model_revision="sha256:a", dataset_revision="sha256:b"))
    weights = (run.adapter / "a", run.trainer / "checkpoint-1" / "b", run.merged / "c")
    for path in (run.train_jsonl, run.eval_jsonl, run.metrics, *weights):
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
    assert config.summary() == "Run rank-2 (chosen in runs/.current): preset tiny with lora_r=2 (preset 8)."
    assert RunConfig.load("tiny", lora_r=4).summary().endswith("preset tiny with lora_r=4 (preset 8).")
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


@pytest.mark.parametrize("seeds", [[1, 2, 3], "1,2,3", "[1, 2, 3]"])
def test_a_fork_for_each_seed(run, capsys, seeds):
    first = fork("tiny", "luck", seeds=seeds, lora_r=2)
    names = [f"luck-seed-{seed}" for seed in (1, 2, 3)]
    configs = [RunDir(runs_root() / name).stored_config() for name in names]
    seed = run.stored_config().seed
    assert [(config.luck, config.lora_r, config.seed) for config in configs] == [(s, 2, seed) for s in (1, 2, 3)]
    assert first.path.name == names[0] and RunConfig.load("tiny").run_name == names[0]
    told = capsys.readouterr().out
    assert f"for run in {' '.join(names)};" in told and f"run {sys.executable} -m helpers.train.launch tiny" in told
    assert "Run 04 first" not in told, "that command runs it"
    fork("tiny", "luck", seeds=[*range(1, 5)], lora_r=2)  # one more: the others stay
    assert (runs_root() / "luck-seed-4").exists()


@pytest.mark.parametrize(
    "changes", [{"seeds": [1, -5]}, {"seeds": []}, {"seeds": 3}, {"seeds": "x"}, {"seeds": [1], "lora_r": 0}]
)
def test_a_bad_seed_leaves_no_fork(run, changes):
    with pytest.raises(BadSetting):
        fork("tiny", "luck", **changes)
    assert not list(runs_root().glob("luck*"))


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
        ({"lora_r": 2, "learning_rate": 1e-3}, "data and verdicts. Run 04 first", "data/train.jsonl data/eval.jsonl"),
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


@pytest.mark.parametrize("name", ["blank ", " blank", "blank\n"])
@pytest.mark.parametrize("seeds", [{}, {"seeds": [1]}])
def test_a_blank_round_a_name_is_in_no_folder(run, name, seeds):
    new = fork("tiny", name, lora_r=2, **seeds)
    assert new.stored_config().run_name == new.path.name == chosen_run() and " " not in new.path.name
    assert RunConfig.load("tiny") == new.stored_config()
    choose(name)
    assert chosen_run() == RunConfig.load("tiny").run_name == "blank"


def test_names_that_are_too_long_for_a_folder_stay_apart():
    old = "tiny-lora_r-2-lora_alpha-4-learning_rate-0.1-" + "x" * 50
    names = {fork_name(old, {"learning_rate": rate, "max_steps": steps}) for rate in (0.1, 0.2) for steps in (4, 8)}
    assert len(names) == 4 and all(len(name) == 100 for name in names)


@pytest.mark.parametrize("value", ["x" * 300, "가나다" * 50, "모델/폴더" * 30])
def test_the_name_of_any_change_is_one_that_a_folder_can_have(run, value):
    name = fork_name("tiny", {"chat_template": value})
    assert fork("tiny", name, chat_template=value).path.name == name and len(name.encode()) <= 100


def test_the_refusal_prints_the_line_that_makes_the_fork(run):
    with pytest.raises(ValueError, match="already holds a training") as refused:
        run.save_config(replace(run.stored_config(), lora_r=2, dataset_id="my data.csv", temperature=0.5))
    line = refused.value.args[0].splitlines()[1]
    assert line == fork_command("tiny", {"dataset_id": "my data.csv", "lora_r": 2, "temperature": 0.5})
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    name = next(path.parent.name for path in runs_root().glob("*/config.json") if path.parent != run.path)
    config = RunConfig.load("tiny")  # it was chosen
    assert config.run_name == name and name in done.stdout
    assert (config.lora_r, config.dataset_id, config.temperature) == (2, "my data.csv", 0.5)


def test_a_wrong_command_says_how_and_changes_nothing(run):
    for words, code in ((["fork", "tiny"], 2), (["fork", "tiny", "new", "lora_r"], 2), (["fork", "none", "new"], 1)):
        done = subprocess.run([sys.executable, "-m", "helpers.runs", *words], capture_output=True, text=True)
        assert done.returncode == code and "Traceback" not in done.stderr and done.stderr.strip()
        assert code == 1 or done.stderr.count("python -m") == done.stderr.count(".venv/bin/python -m") == 2


OTHER = {"run_name": None, "preset": None, "gguf_formats": "f16", "hub_repo": "you/there"}
FIRST = {  # what the sentence says after a change of a setting of this stage
    Stage.DATA: "Run 03", Stage.LABELS: "Run 03", Stage.TRAINING: "Run 04", Stage.MERGE: "Run 05",
    Stage.PUSH: "last section of 05", Stage.EVALUATION: "Run 06", Stage.SERVE: "Run 07",
    Stage.PLAN: "nothing has to run", Stage.FREE: "nothing has to run",
}  # fmt: skip
PARTS = {"train_jsonl", "adapter", "merged", "evaluation", "gguf", "served"}
STALE = {  # of these, what a fork does not take over
    Stage.DATA: PARTS, Stage.LABELS: PARTS, Stage.TRAINING: PARTS - {"train_jsonl"},
    Stage.MERGE: {"merged", "evaluation", "gguf", "served"}, Stage.EVALUATION: {"evaluation"},
    Stage.SERVE: {"gguf", "served"},
}  # fmt: skip


def another_value(name: str, value):
    """A value of the setting that is not `value`, and allowed; None where a fork cannot change it."""
    rules = RULES[name]
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    if rules["choices"]:
        return next(choice for choice in rules["choices"] if choice != value)
    if isinstance(value, str):
        return "other"
    return rules["low"] if value != rules["low"] else rules["high"]


@pytest.mark.parametrize("name", RULES)
def test_a_change_of_a_setting_makes_stale_what_its_stage_says(run, capsys, name):
    rules = RULES[name]
    assert rules["help"] and rules["stage"] in Stage
    value = another_value(name, getattr(run.stored_config(), name))
    if value is None:
        return
    for path in (run.evaluation, run.served, run.gguf / "model.gguf"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    new = fork("tiny", "other", **{name: value})
    assert FIRST[rules["stage"]] in capsys.readouterr().out
    assert {part for part in PARTS if not getattr(new, part).exists()} == STALE.get(rules["stage"], set())


@pytest.mark.parametrize("stage", [Stage.DATA, Stage.LABELS, Stage.TRAINING])
def test_each_setting_of_a_training_is_refused_under_it(run, stage):
    stored = run.stored_config()
    for name, rules in RULES.items():
        if rules["stage"] == stage and not rules.get("resumable") and not name.endswith("_revision"):
            changed = replace(stored, **{name: another_value(name, getattr(stored, name))}, run_name="tiny")
            with pytest.raises(OtherTraining) as refused:
                run.save_config(changed)
            assert name in refused.value.changed


def test_a_fork_that_would_change_nothing_is_not_made(run, capsys):
    fork("tiny", "rank-2", lora_r=2)
    again = fork("rank-2", "rank-2-again", lora_r=2)
    assert again.path.name == "rank-2" and "no fork was made" in capsys.readouterr().out
    assert sorted(path.name for path in runs_root().iterdir() if path.is_dir()) == ["rank-2", "tiny"]


def test_rows_and_settings_of_a_fork_are_its_own_and_weights_take_no_room(run):
    weights = run.adapter / "adapter_model.safetensors"
    weights.write_bytes(bytes(1 << 20))
    new = fork("tiny", "other", max_new_tokens=9)
    assert (new.adapter / weights.name).samefile(weights)
    small = (new.adapter / "a", new.trainer / "checkpoint-1" / "b", new.data_report)
    for path in (new.train_jsonl, new.eval_jsonl, *small):
        assert not path.samefile(run.path / path.relative_to(new.path))
        path.write_text("edited in place")
    assert run.train_jsonl.read_text() == "{}\n"


def test_a_fork_that_was_killed_leaves_nothing_to_the_next_of_that_name(run, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("helpers.runs.forks.write_atomic", killed)
        fork("tiny", "hot", max_new_tokens=9)
    assert not (runs_root() / "hot").exists()
    assert not fork("tiny", "hot", learning_rate=0.5).adapter.exists()


def test_an_override_that_stays_in_the_run_is_said(run, capsys):
    run.save_config(replace(run.stored_config(), temperature=0.7))
    assert "Kept in config.json from now on: temperature=0.7 (it was 0.0)." in capsys.readouterr().out


def test_settings_of_an_older_version_are_left_out_and_named(run, capsys, monkeypatch):
    for module in ("helpers.settings", "helpers.runs.directory"):
        monkeypatch.setattr(f"{module}.RETIRED", ("lora_rank",))
    stored = json.loads(run.config_json.read_text()) | {"lora_rank": 4}
    run.config_json.write_text(json.dumps(stored))
    assert run.load_config().lora_r == 8
    assert "lora_rank" in capsys.readouterr().out


def test_a_fork_goes_on_from_the_adapter_of_the_old_run_and_owns_what_it_began_from(run, capsys):
    with pytest.raises(FileNotFoundError, match="adapter_model.safetensors is missing"):
        fork("tiny", "more", start_from="adapter", dataset_id="new.jsonl")
    (run.adapter / "adapter_model.safetensors").write_text("first")
    more = fork("tiny", "more", start_from="adapter", dataset_id="new.jsonl")
    assert "Run 03 first" in capsys.readouterr().out and not more.train_jsonl.exists() and not more.adapter.exists()
    assert {path.name for path in more.start.iterdir()} == {"adapter", "train.jsonl", "eval.jsonl"}
    (run.adapter / "adapter_model.safetensors").write_text("edited")
    slower = fork("more", "slower", learning_rate=1e-5)  # begins where `more` began
    assert (slower.start / "adapter" / "adapter_model.safetensors").read_text() == "first"
    for path in (more.adapter / "adapter_model.safetensors", more.train_jsonl, more.eval_jsonl):
        path.parent.mkdir(exist_ok=True)
        path.write_text("second")
    third = fork("more", "third", start_from="adapter")  # the same words, another adapter; the same data
    assert (third.start / "adapter" / "adapter_model.safetensors").read_text() == "second"
    assert not third.adapter.exists()
    assert third.stored_config().dataset_id == "new.jsonl"
    assert not fork("third", "fresh", start_from="").start.exists()


def test_a_run_says_how_far_it_is_and_what_it_is_a_fork_of(trained_run, monkeypatch):
    monkeypatch.delenv("QLORA_RUN_NAME", raising=False)
    child = fork(trained_run.path.name, "child-of-tiny", chosen=False, max_new_tokens=9)
    try:
        told = state(child)
        step = read_json(trained_run.trained)["step"]
        assert "labels green" in told and f"trained to step {step}" in told
        assert told.endswith(f"choose({trained_run.path.name!r}) leads back.")
        old = [{"check": "c", "ok": True}, {"check": "d", "ok": False}]
        write_json(child.data_report, {"verdicts": old})
        assert "labels red" in state(child)
        child.trained.write_text("{")  # cut off: the page that needs it says so
        assert "trained" not in state(child) and state(RunDir(child.path / "new")) == ""
    finally:
        shutil.rmtree(child.path)


def test_what_was_made_of_an_older_merge_is_not_behind_a_run(run):
    for weights, behind in (("a", "merge green · compared · files for other programs."), ("b", "merge green.")):
        files = {"config.json": "c", "model.safetensors": weights}
        write_json(run.merge_report, {"verdict": "green", "files": files})
        for file in (run.evaluation, run.served):
            write_json(file, {"merged_files": {"model.safetensors": "a"}})
        assert state(run) == f"So far: {behind}"
    for file in (run.evaluation, run.served):  # of an older version
        write_json(file, {})
    assert state(run).endswith("merge green · compared · files for other programs.")
