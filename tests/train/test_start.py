"""A training that begins from an adapter: the very numbers, in float32, and what was won and lost since."""

import json
from dataclasses import replace

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from helpers.compare.runs import read_run
from helpers.evaluate.intervals import BETTER, WORSE
from helpers.files import read_json, write_json, write_jsonl
from helpers.runs import RunDir
from helpers.train.best import HeldOut
from helpers.train.start import begin_from, row_key, since_start
from tests.model.test_adapters import save_adapter
from tests.model.test_elsewhere import SEVEN
from tests.small_training import CONFIG, build


@pytest.fixture(scope="module")
def started(tmp_path_factory, tiny_model):
    """(run, its trainer), which began from an adapter of another place."""
    folder = tmp_path_factory.mktemp("start")
    run, adapter = RunDir(folder / "run"), save_adapter(folder / "adapter", r=4, lora_alpha=32, target_modules=SEVEN)
    config = replace(CONFIG, start_from=str(adapter))
    trainer = build(run, config)
    rows = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}], "earlier": True}]
    write_jsonl(run.eval_jsonl, rows)
    begin_from(trainer, run, config)
    run.config_json.write_text(config.to_json())
    return run, trainer


def test_it_begins_at_the_very_numbers_and_in_float32(started):
    run, trainer = started
    there = load_file(run.path.parent / "adapter" / "adapter_model.safetensors")
    now = get_peft_model_state_dict(trainer.model)
    assert there.keys() == now.keys() and all(torch.equal(there[name].float(), now[name]) for name in there)
    assert {weight.dtype for weight in now.values()} == {torch.float32}
    assert all(weight.requires_grad for name, weight in trainer.model.named_parameters() if "lora_" in name)
    scores = read_json(run.start_scores)
    assert scores["rows"] == list(map(row_key, trainer.eval_dataset)) and min(scores["nll"]) > 0


def test_won_on_the_new_and_lost_on_the_old_rows_are_told_apart(started, tmp_path):
    run = RunDir(tmp_path)
    (tmp_path / "start").mkdir()
    rows = [f"row-{i}" for i in range(60)]
    before = {"rows": rows, "nll": [20.0 + i % 3 for i in range(60)], "tokens": [10] * 60}
    before["earlier"] = [i < 30 for i in range(60)]
    write_json(run.start_scores, before)
    assert since_start(run) == []
    now = [nll + (3 + i % 2 if i < 30 else -4 - i % 2) for i, nll in enumerate(before["nll"])]
    HeldOut(5, 5, "A sentence.", rows, now, [10] * 60).write(run)
    new, old = since_start(run)
    assert (new["verdict"], old["verdict"]) == (BETTER, WORSE)
    assert (round(new["difference"], 3), round(old["difference"], 3)) == (-0.45, 0.35)
    (tmp_path / "config.json").write_text(started[0].stored_config().to_json())
    told = read_run(run).since
    assert "start, new rows: -0.45" in told and "start, rows of before: +0.35" in told
    write_json(run.start_scores, before | {"earlier": [False] * 60})
    assert [row["rows"] for row in since_start(run)] == [60]


def test_it_is_measured_once_and_again_when_the_rows_are_others(started):
    run, trainer = started
    config = run.stored_config()
    marked = json.loads(run.start_scores.read_text()) | {"nll": [1.0] * len(trainer.eval_dataset)}
    write_json(run.start_scores, marked)
    begin_from(trainer, run, config)
    assert read_json(run.start_scores) == marked
    write_json(run.start_scores, marked | {"rows": []})
    begin_from(trainer, run, config)
    assert read_json(run.start_scores)["nll"] != marked["nll"]
