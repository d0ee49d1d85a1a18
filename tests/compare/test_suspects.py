"""The rows of a real run by their loss; what is made of them is in test_counts.py."""

import os
import shlex
import shutil
import subprocess

import pytest

from helpers.compare import suspects
from helpers.compare.suspects import early_checkpoint, losses_chart, rows_by_loss, suspects_table
from helpers.compare.take_out import gained, next_step, without
from helpers.data.split import row_hash
from helpers.files import read_json, read_jsonl
from helpers.model.lora import load_adapter as load
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from tests.conftest import edit_json


def test_every_row_once_worst_first_early_and_late(trained_run):
    found = rows_by_loss(trained_run, trained_run.stored_config())
    rows = read_jsonl(trained_run.train_jsonl)
    assert sorted(row_hash(row.row) for row in found) == sorted(map(row_hash, rows))
    losses = [row.early.mean for row in found]
    assert losses == sorted(losses, reverse=True) and early_checkpoint(trained_run).name == "checkpoint-20"
    better = sum(row.late.mean < row.early.mean for row in found)
    assert better > 0.8 * len(found)  # it has learned since: 90 % of the rows on a CPU with AVX2
    marked = [row.marked for row in found]
    assert marked == sorted(marked, reverse=True) and sum(marked) < 0.2 * len(found)
    for row in found[:5]:
        text = "".join(message["content"] for message in row.row["messages"])
        assert row.token.strip() in text or row.token.startswith("</")
    assert f"{sum(marked)} are marked" in losses_chart(found).alt


@pytest.mark.parametrize(("kept", "early"), [(40, "checkpoint-40"), (20, "checkpoint-20")])
def test_early_is_never_after_the_adapter_itself(trained_run, tmp_path, monkeypatch, kept, early):
    """Of a training of one epoch, whose best checkpoint need not be the last."""
    run = RunDir(shutil.copytree(trained_run.path, tmp_path / trained_run.path.name))
    edit_json(run.held_out, step=kept)
    monkeypatch.setattr(suspects, "rows_per_step", lambda checkpoint: 1)  # 40 steps do not meet every row
    assert early_checkpoint(run).name == early


def test_an_adapter_of_one_epoch_is_measured_once(trained_run, monkeypatch):
    """Its last checkpoint met each row once, and is the adapter itself: two equal columns would be of no use."""
    measured = []
    monkeypatch.setattr(suspects, "early_checkpoint", lambda run: run.adapter)
    monkeypatch.setattr(
        suspects, "load_adapter", lambda model, adapter: measured.append(adapter) or load(model, adapter)
    )
    found = rows_by_loss(trained_run, trained_run.stored_config())
    assert measured == [trained_run.adapter] and all(row.late is row.early for row in found)
    assert "at the end" not in suspects_table(found).rows[0]
    assert len(losses_chart(found).figure.axes[0].get_legend_handles_labels()[1]) == 1 + any(r.marked for r in found)


@pytest.mark.slow
def test_a_fork_without_the_worst_rows_is_trained_by_the_printed_line_and_compared(trained_run, tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    run = RunDir(shutil.copytree(trained_run.path, tmp_path / trained_run.path.name))
    worst = [found.row for found in rows_by_loss(run, run.stored_config())[:5]]
    fewer = without(run.path.name, worst)
    setting, *words = shlex.split(next_step(fewer).partition(": ")[2])
    environment = os.environ | dict([setting.split("=")])
    done = subprocess.run(words, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    learned = set(map(row_hash, read_jsonl(fewer.train_jsonl)))
    assert len(learned) == len(read_jsonl(run.train_jsonl)) - 5 and not learned & set(map(row_hash, worst))
    assert read_json(fewer.held_out)["nll"] != read_json(run.held_out)["nll"]
    assert f"{fewer.path.name} against {run.path.name}: " in gained(run.path.name, fewer.path.name)
