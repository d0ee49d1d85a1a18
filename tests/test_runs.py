import json
import os
import re
import socket
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import paths as place
from helpers.fields import BadSetting
from helpers.files import folder_digest, is_network, read_jsonl, write_atomic, write_json
from helpers.paths import runs_root
from helpers.runs import RunDir, choose, fork
from helpers.runs.directory import OLD_MERGE_REPORT, ChangedRows
from helpers.runs.identity import OtherTraining
from helpers.settings import RULES, RunConfig
from tests.test_forks import another_value


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path / "runs"))
    return RunDir.open(RunConfig.load("tiny"))


def test_place_of_the_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    assert runs_root() == tmp_path
    monkeypatch.delenv("QLORA_RUNS_DIR")
    monkeypatch.chdir(tmp_path)  # a notebook's kernel and a script must agree, wherever they stand
    assert runs_root().name == "runs" and runs_root().parent != tmp_path
    monkeypatch.setenv("QLORA_RUNS_DIR", "my runs")
    assert runs_root() == place.PROJECT_ROOT / "my runs"


def test_each_pod_has_its_own_runs_on_a_network_volume(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("QLORA_RUNS_DIR", raising=False)
    monkeypatch.setattr(place, "WORKSPACE", tmp_path)
    monkeypatch.setenv("RUNPOD_POD_ID", "new")
    for network, name in ((False, "runs"), (True, "runs-new")):
        monkeypatch.setattr(place, "is_network", lambda folder, network=network: network)
        assert runs_root() == tmp_path / name
    assert place.runs_of_other_pods() == []
    (tmp_path / "runs-old" / "tiny").mkdir(parents=True)
    RunDir.open(RunConfig.load("tiny"))
    told = capsys.readouterr().out
    assert f"A run tiny of another pod lies in {tmp_path}/runs-old." in told and "QLORA_RUNS_DIR=" in told
    RunDir.open(RunConfig.load("tiny"))  # this pod's own is there now
    assert capsys.readouterr().out == ""


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
mfs#eu-ro-1.runpod.net:9421 /workspace fuse rw,nosuid 0 0
/dev/sdb1 /workspace/disk ext4 rw 0 0
server:/share /mnt/my\\040share nfs4 rw 0 0
"""


def test_a_network_volume_is_known_by_its_mount(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: True)
    network, own = ("/workspace/runs/not/there/yet", "/mnt/my share"), ("/root", "/workspacex", "/workspace/disk/runs")
    assert [is_network(Path(folder), MOUNTS) for folder in (*network, *own)] == [True] * 2 + [False] * 3


def test_missing_input_says_which_notebook_makes_it(run):
    with pytest.raises(FileNotFoundError, match="config.json is missing.*03_data_preview.ipynb.*QLORA_RUN_NAME"):
        run.load_config()
    with pytest.raises(FileNotFoundError, match="data/train.jsonl is missing"):
        run.require(run.train_jsonl, produced_by="03_data_preview.ipynb")


def test_rows_that_were_edited_after_03_are_refused(run):
    for path in (run.train_jsonl, run.eval_jsonl):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}\n")
    write_json(run.data_report, {"hashes": run.row_hashes()})
    run.require(run.train_jsonl, run.eval_jsonl, produced_by="03_data_preview.ipynb")
    for path in (run.train_jsonl, run.eval_jsonl):
        path.write_text('{"a": 1}\n')
        with pytest.raises(ChangedRows) as refused:
            run.require(run.train_jsonl, run.eval_jsonl, produced_by="03_data_preview.ipynb")
        assert refused.value.file == path
        path.write_text("{}\n")


def test_saved_config_wins_and_overrides_are_printed(run, capsys):
    run.save_config(RunConfig.load("tiny", lora_r=32, learning_rate=0.01))
    config = run.load_config(learning_rate=0.02)
    assert (config.lora_r, config.learning_rate) == (32, 0.02)
    assert "learning_rate is 0.01 in config.json, 0.02 is used here" in capsys.readouterr().out
    assert run.load_config().learning_rate == 0.01
    assert capsys.readouterr().out == "Run tiny: preset tiny with lora_r=32 (preset 8).\n"


@pytest.mark.parametrize("route", ["OVERRIDES", "environment"])
@pytest.mark.parametrize("name", RULES)
def test_no_setting_changes_in_config_json_in_silence(run, capsys, monkeypatch, name, route):
    """Whatever a later notebook is told, and however: what differs on the disk afterwards was printed."""
    run.save_config(RunConfig.load("tiny", run_name="tiny"))
    before = json.loads(run.config_json.read_text())
    value = another_value(name, before[name])
    if name in ("preset", "run_name"):
        return
    capsys.readouterr()
    if route == "environment":
        monkeypatch.setenv(f"QLORA_{name.upper()}", str(value))
    run.save_config(run.load_config(**({name: value} if route == "OVERRIDES" else {})))
    told, after = capsys.readouterr().out, json.loads(run.config_json.read_text())
    assert after[name] == value and after[name] != before[name]
    assert [key for key in after if after[key] != before[key] and f"{key} is" not in told] == []


def test_a_renamed_run_is_the_run_of_its_folder(run, monkeypatch):
    run.save_config(RunConfig.load("tiny", lora_r=3))
    run.path.rename(run.path.with_name("best"))
    choose("best")
    config = RunConfig.load()
    assert (config.run_name, config.lora_r, RunDir.open(config).path.name) == ("best", 3, "best")
    assert fork("best", "next", lora_r=4).stored_config().run_name == "next"


@pytest.mark.parametrize(
    ("change", "setting"),
    [({"lora_r": "sixteen"}, "lora_r"), ({"packing": 1}, "packing"), ({"lora_rank": 4}, "lora_rank"),
     ({"seed": None}, "seed"), ({"optim": ["adamw"]}, "optim"), (None, ""), ("{", ""), ("[]", "")],
)  # fmt: skip
def test_a_config_json_that_was_edited_is_named_with_its_setting(run, change, setting):
    run.save_config(RunConfig.load("tiny"))
    stored = json.loads(run.config_json.read_text())
    run.config_json.write_text(change if isinstance(change, str) else json.dumps(change and stored | change))
    choose("tiny")
    for read in (run.load_config, run.stored_config, RunConfig.load, lambda: fork("tiny", "other")):
        with pytest.raises(BadSetting, match=re.escape(str(run.config_json))) as refused:
            read()
        assert refused.value.setting == setting


def test_trained_run_is_not_overwritten_with_other_settings(run):
    run.save_config(RunConfig.load("tiny"))
    run.adapter.mkdir()
    run.save_config(RunConfig.load("tiny", price_per_hour=0.3))  # says nothing about the training
    before = run.config_json.read_text()
    with pytest.raises(ValueError, match="(?s)lora_r 8 -> 64.*helpers.runs fork tiny .*lora_r=64.*QLORA_RUN_NAME"):
        run.save_config(RunConfig.load("tiny", lora_r=64))
    assert run.config_json.read_text() == before
    run.adapter.rmdir()
    with run.lock("training"), pytest.raises(ValueError, match="lora_r 8 -> 64"):  # under way, no checkpoint yet
        run.save_config(RunConfig.load("tiny", lora_r=64))


def test_a_base_that_changes_after_03_is_said_on_every_page_that_opens_the_run(run, tmp_path, capsys):
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_text("one")
    run.save_config(RunConfig.load("tiny", model_id=str(base), model_revision=folder_digest(base)))
    os.utime(run.config_json, (0, 0))  # so that the files are looked at
    run.load_config()
    assert "changed" not in capsys.readouterr().out
    (base / "model.safetensors").write_text("two")
    os.utime(base / "model.safetensors", (0, 0))  # as a copy keeps it
    run.load_config()
    assert str(base) in (told := capsys.readouterr().out) and "changed since 03" in told


@pytest.mark.parametrize("name, source", [("dataset_revision", "dataset_id"), ("model_revision", "model_id")])
def test_a_trained_run_does_not_get_other_data_or_another_base_under_the_same_name(run, name, source):
    """A file that was edited, a hub branch that moved: the new split may hold out what the adapter was trained on."""
    fresh, old, new = RunConfig.load("tiny"), "sha256:" + "a" * 64, "b" * 40
    run.save_config(replace(fresh, **{name: old}))
    run.save_config(replace(fresh, **{name: new}))  # nothing is trained yet
    run.adapter.mkdir()
    run.save_config(replace(fresh, **{name: new}))  # the same
    run.save_config(replace(fresh, **{name: "main"}))  # 00 does not know what it is
    run.save_config(replace(fresh, **{name: new}))
    before = run.config_json.read_text()
    with pytest.raises(ValueError, match=f"{getattr(fresh, source)} has changed since .{name} was {new}, is {old}"):
        run.save_config(replace(fresh, **{name: old}))
    assert run.config_json.read_text() == before


@pytest.mark.parametrize("left", ["adapter/adapter_config.json", "trainer/checkpoint-14/state.json", "trained.json"])
def test_a_training_without_its_config_json_is_not_taken_for_another_one(run, left):
    """Resuming would hand out the old adapter under the new settings."""
    run.save_config(RunConfig.load("tiny"))
    write_json(run.data_report, {})  # 03 alone may begin anew
    run.config_json.unlink()
    run.start_config(RunConfig.load("tiny"))
    fork_of = RunDir.open(RunConfig.load("tiny", run_name="other"))
    fork_of.save_config(RunConfig.load("tiny", run_name="other"))
    write_json(run.path / left, {})
    new, what = RunConfig.load("tiny", learning_rate=1e-5), left.rpartition("/")[0] or left
    for begin in (run.start_config, run.save_config, lambda new: fork("other", "tiny", lora_r=2)):
        with pytest.raises(OtherTraining, match=f"{what}.*delete {run.path}.*QLORA_RUN_NAME"):
            begin(new)
    assert not run.config_json.exists()


def test_03_starts_from_what_00_wrote_and_says_each_difference(run, capsys):
    fresh = RunConfig.load("tiny")
    assert run.start_config(fresh) is fresh
    assert capsys.readouterr().out == "Run tiny: preset tiny as it is.\n"
    run.save_config(replace(fresh, per_device_train_batch_size=4, gradient_accumulation_steps=2))
    overrides = {"lora_r": 4, "per_device_train_batch_size": 2}
    config = run.start_config(RunConfig.load("tiny", **overrides), **overrides)
    assert (config.per_device_train_batch_size, config.gradient_accumulation_steps, config.lora_r) == (2, 2, 4)
    assert capsys.readouterr().out.splitlines() == [
        "Run tiny: preset tiny with lora_r=4 (preset 8), per_device_train_batch_size=2 (preset 8), "
        "gradient_accumulation_steps=2 (preset 1).",
        "Override: lora_r is 8 in config.json, 4 is used here.",
        "Override: per_device_train_batch_size is 4 in config.json, 2 is used here.",
        "From config.json: gradient_accumulation_steps is 2 (the preset has 1).",
    ]


def test_planning_again_keeps_the_recorded_revisions_of_the_same_model_and_data(run, capsys):
    fresh = RunConfig.load("tiny")
    run.save_config(replace(fresh, model_revision="sha256:a", dataset_revision="sha256:b"))
    run.adapter.mkdir()  # a finished run
    run.save_config(fresh)
    stored = run.load_config()
    assert (stored.model_revision, stored.dataset_revision) == ("sha256:a", "sha256:b")
    run.adapter.rmdir()
    assert run.load_config(dataset_id="other.csv").dataset_revision == ""  # it was the old data set's
    run.save_config(replace(fresh, dataset_id="other.csv"))
    assert (run.load_config().model_revision, run.load_config().dataset_revision) == ("sha256:a", "")
    run.save_config(replace(fresh, model_revision="v2"))
    assert run.load_config().model_revision == "v2"


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "file.json"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\ud800")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.json"]


def test_read_jsonl_forgives_only_a_cut_off_last_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert read_jsonl(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(ValueError, match="metrics.jsonl, line 2"):
        read_jsonl(path)


def hold(run, task="training", then="time.sleep(60)") -> subprocess.Popen:
    """Another process that locks the run, says so, and does `then`."""
    code = f"""
        import os, pathlib, sys, time
        from helpers.runs import RunDir, choose, fork
        try:
            with RunDir(pathlib.Path({str(run.path)!r})).lock({task!r}):
                print("locked", flush=True)
                {then}
        except RuntimeError as error:
            print(error, flush=True)
        """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)


def test_lock_refuses_a_second_owner(run):
    with run.lock("training"):
        assert run.lock_owner()["task"] == "training"
        told = f"training, process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(RuntimeError, match=told), run.lock("merge"):
            pass
    assert run.lock_owner() is None and not run.lock_file.exists() and not run.lock_note.exists()


def test_the_lock_of_a_killed_process_is_taken_over(run):
    hold(run, "killed", then="os.kill(os.getpid(), 9)").wait()
    assert json.loads(run.lock_note.read_text())["task"] == "killed" and run.lock_owner() is None
    hold(run, "killed", then="os.kill(os.getpid(), 9)").wait()
    with run.lock("after the kill"):
        assert run.lock_owner()["task"] == "after the kill"


def test_a_live_process_keeps_its_lock(run):
    other = hold(run)
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(RuntimeError, match=f"in use: training, process {other.pid} on"), run.lock("merge"):
        pass
    other.kill()
    other.wait()
    with run.lock("merge"):
        pass


def test_a_lock_without_a_record_is_respected(run):
    """As another process leaves it between making the file and writing its name into it."""
    run.lock_file.write_text("")
    with pytest.raises(RuntimeError, match="in use: another task.*run.lock"), run.lock("training"):
        pass
    assert run.lock_file.exists() and run.lock_owner()["task"] == "another task"


def test_of_many_takers_of_a_dead_lock_one_enters(run):
    hold(run, "killed", then="os.kill(os.getpid(), 9)").wait()
    takers = [hold(run, f"taker {number}", then="time.sleep(3)") for number in range(4)]
    told = [taker.communicate()[0] for taker in takers]
    assert sum(text == "locked\n" for text in told) == 1
    assert sum("is in use" in text for text in told) == 3


def test_the_lock_of_another_machine_is_respected(run):
    """A pid of another host says nothing about the processes here: nobody with this one lives here, or anybody does."""
    for pid in (2**22 + 1, os.getpid()):
        run.lock_file.write_text(f"{pid}\nanother-pod\n")
        write_json(run.lock_note, {"pid": pid, "host": "another-pod", "task": "training", "since": 0.0})
        told = f"training, process {pid} on another-pod.*gone for good"
        with pytest.raises(RuntimeError, match=told), run.lock("merge"):
            pass
        assert run.lock_owner()["host"] == "another-pod"


def test_the_merge_report_of_an_older_run_is_read_until_there_is_a_new_one(run):
    new = run.path / "merge_report.json"
    assert run.merge_report == new
    (run.path / OLD_MERGE_REPORT).write_text("{}")
    assert run.merge_report == run.path / OLD_MERGE_REPORT
    new.write_text("{}")
    assert run.merge_report == new


def test_in_korean_a_host_with_the_name_of_a_word_of_ours_stays_as_it_is(run, monkeypatch):
    monkeypatch.setenv("QLORA_LANG", "ko")
    run.lock_file.write_text("7\nmerged\n")
    write_json(run.lock_note, {"pid": 7, "host": "merged", "task": "training", "since": 0.0})
    with pytest.raises(RuntimeError) as refused, run.lock("merge"):
        pass
    assert "merged" in str(refused.value) and "학습" in str(refused.value)
