import json
import os
import subprocess
import sys
import textwrap

import pytest

from helpers.config import RunConfig
from helpers.runs import RunDir, read_jsonl, runs_root, write_atomic


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


def test_missing_input_says_which_notebook_makes_it(run):
    with pytest.raises(FileNotFoundError, match="config.json is missing.*03_data_preview.ipynb.*QLORA_RUN_NAME"):
        run.load_config()
    with pytest.raises(FileNotFoundError, match="data/train.jsonl is missing"):
        run.require(run.train_jsonl, produced_by="03_data_preview.ipynb")


def test_saved_config_wins_and_overrides_are_printed(run, capsys):
    run.save_config(RunConfig.load("tiny", lora_r=32, learning_rate=0.01))
    config = run.load_config(learning_rate=0.02)
    assert (config.lora_r, config.learning_rate) == (32, 0.02)
    assert "learning_rate is 0.01 in config.json, 0.02 is used here" in capsys.readouterr().out
    assert run.load_config().learning_rate == 0.01
    assert capsys.readouterr().out == ""


def test_trained_run_is_not_overwritten_with_other_settings(run):
    run.save_config(RunConfig.load("tiny"))
    run.adapter.mkdir()
    run.save_config(RunConfig.load("tiny", price_per_hour=0.3))  # says nothing about the training
    before = run.config_json.read_text()
    with pytest.raises(ValueError, match="lora_r 8 -> 64.*QLORA_RUN_NAME"):
        run.save_config(RunConfig.load("tiny", lora_r=64))
    assert run.config_json.read_text() == before


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


def test_lock_refuses_a_second_owner_and_takes_over_from_the_dead(run):
    with run.lock("training"):
        assert run.lock_owner()["task"] == "training"
        with pytest.raises(RuntimeError, match=f"training, process {os.getpid()}"), run.lock("merge"):
            pass
    assert run.lock_owner() is None and not run.lock_file.exists()

    killed = textwrap.dedent(
        f"""
        import os, pathlib
        from helpers.runs import RunDir
        with RunDir(pathlib.Path({str(run.path)!r})).lock("killed"):
            os.kill(os.getpid(), 9)
        """
    )
    subprocess.run([sys.executable, "-c", killed])
    assert json.loads(run.lock_file.read_text())["task"] == "killed" and run.lock_owner() is None
    with run.lock("after the kill"):
        assert run.lock_owner()["task"] == "after the kill"
