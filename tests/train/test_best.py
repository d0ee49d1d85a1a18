"""Best, not last: which checkpoint is used, when training stops early, and what is said about overfitting."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from helpers.evaluate.held_out import Scores
from helpers.files import read_jsonl
from helpers.train.best import conclusion
from helpers.train.checkpoints import checkpoints, is_last
from helpers.train.curve import best_step, held_out_losses, summary
from tests.small_training import CONFIG, build, train
from tests.train.test_training import Ask, adapter, curve, new_run

BEST = replace(CONFIG, keep="best")
# four rows, a constant and high learning rate: the held-out loss falls, then wavers, so patience ends
HOT = {"learning_rate": 5e-2, "lr_scheduler_type": "constant", "lora_r": 16, "lora_dropout": 0.0}
SOON = replace(BEST, max_steps=80, eval_steps=2, save_steps=100, patience=3, **HOT)


def test_the_lowest_is_kept_and_used_and_training_ends_after_patience(tmp_path, capsys):
    run = new_run(tmp_path / "best")
    trainer = train(run, SOON, rows=4)
    losses = {row["step"]: row["eval_loss"] for row in read_jsonl(run.metrics) if "eval_loss" in row}
    best, last = min(set(losses) - {0}, key=losses.get), max(losses)
    assert 0 < best < last < SOON.max_steps and last == best + 3 * SOON.eval_steps
    assert all(losses[step] > losses[best] for step in losses if step > best)
    found = json.loads(run.held_out.read_text())
    assert (found["step"], found["last"]) == (best, last)
    assert f"step {best}" in found["told"] and "Stopped early: 3 evaluations" in capsys.readouterr().out
    assert {path.name for path in checkpoints(run.trainer)} >= {f"checkpoint-{best}", f"checkpoint-{last}"}
    kept = load_file(run.trainer / f"checkpoint-{best}" / "adapter_model.safetensors")
    assert all(torch.equal(kept[name], weight) for name, weight in adapter(run).items())
    assert len(set(found["rows"])) == len(found["nll"]) == len(trainer.eval_dataset)
    assert sum(found["nll"]) / sum(found["tokens"]) == pytest.approx(losses[best], rel=2e-3)  # that one in bfloat16

    rows = read_jsonl(run.metrics)
    assert is_last(checkpoints(run.trainer)[0]) and rows[-1]["device"]  # finished, facts and all
    train(run, SOON, rows=4)  # once more: only loads
    assert read_jsonl(run.metrics) == rows and json.loads(run.held_out.read_text()) == found

    train(run, replace(SOON, keep="last"), rows=4)
    at_last = load_file(run.trainer / f"checkpoint-{last}" / "adapter_model.safetensors")
    assert all(torch.equal(at_last[name], weight) for name, weight in adapter(run).items())
    assert json.loads(run.held_out.read_text())["step"] == last


def test_stopped_and_resumed_it_ends_at_the_same_step(tmp_path):
    whole, run = new_run(tmp_path / "whole"), new_run(tmp_path / "stopped")
    train(whole, SOON, rows=4)
    trainer = build(run, SOON, rows=4, eval_on_start=True)
    trainer.add_callback(Ask(run))
    trainer.train()
    assert trainer.state.global_step == 5 < json.loads(whole.held_out.read_text())["last"]
    train(run, SOON, rows=4)
    assert curve(run) == curve(whole) and run.held_out.read_text() == whole.held_out.read_text()


def test_a_broken_best_is_not_used(tmp_path, capsys):
    run = new_run(tmp_path / "broken")
    train(run, SOON, rows=4)
    best = json.loads(run.held_out.read_text())["step"]
    (run.trainer / f"checkpoint-{best}" / "adapter_model.safetensors").write_bytes(b"")
    train(run, SOON, rows=4)
    assert json.loads(run.held_out.read_text())["step"] != best
    assert f"checkpoint-{best} had the lowest held-out loss, and is not complete" in capsys.readouterr().out


def test_keep_best_saves_more_and_changes_nothing(tmp_path):
    last, best = new_run(tmp_path / "last"), new_run(tmp_path / "best")
    train(last, CONFIG)
    train(best, BEST)
    assert [path.name for path in checkpoints(last.trainer)] == ["checkpoint-14", "checkpoint-12"]
    assert checkpoints(best.trainer)[-1].name == f"checkpoint-{min(best_step(history(best)), 12)}"
    assert curve(last) == curve(best)
    names = [load_file(run.trainer / "checkpoint-14" / "adapter_model.safetensors") for run in (last, best)]
    assert all(torch.equal(weight, names[1][name]) for name, weight in names[0].items())


def test_a_training_that_changes_nothing_says_so(tmp_path):
    run = new_run(tmp_path / "still")
    train(run, learning_rate=0.0, max_steps=2, save_steps=1)
    text = conclusion(run, [])
    assert "This adapter changes nothing" in text and "0% of the adapter's numbers moved (amber)" in text


def history(run) -> list[dict]:
    return json.loads((checkpoints(run.trainer)[0] / "trainer_state.json").read_text())["log_history"]


HISTORY = [
    {"step": 0, "eval_loss": 3.0},
    *({"step": step, "loss": 2.0 - step / 100} for step in range(1, 101)),
    {"step": 50, "eval_loss": 1.0},
    {"step": 100, "eval_loss": 1.2},
]


@pytest.mark.parametrize(
    ("rise", "history", "said"),
    [
        (0.2, HISTORY, r"Overfitting since step 50: held-out loss rose by 0.20 \(0.20 to 0.20, 20 rows\) up to step 100, "
                       r"while training loss fell from 1.74 to 1.25"),
        (0.021, HISTORY, "Overfitting since"),  # the whole interval lies just beyond the margin of 0.02
        (0.2, [r for r in HISTORY if "loss" not in r], "No training loss was logged there, so whether it is overfitting is unclear"),
        (0.2, [r for r in HISTORY if r["step"] <= 50 or "eval_loss" in r], "whether it is overfitting is unclear"),
        (0.0202, HISTORY, "it changed by .*: unclear. That is no proof of overfitting"),  # the interval holds the margin
        (0.019, HISTORY, "it changed by .*: no difference that matters. That is no proof of overfitting"),  # just within
        (0.2, [r | {"loss": 1.7} if "loss" in r else r for r in HISTORY], "no overfitting, but a training that breaks down"),
        (0.2, [r | {"loss": 1.7 - r["step"] / 1e4} if "loss" in r else r for r in HISTORY], "Overfitting since"),
        (0.01, HISTORY, "it changed by .*: no difference that matters. That is no proof of overfitting"),
        (0.2, [*HISTORY, *({"step": s, "loss": 9.0} for s in range(51, 101))], "no overfitting, but a training that breaks down"),
        (0.2, [{"step": 0, "eval_loss": 0.9}, *HISTORY[1:]], "no better than the base, whose held-out loss was 0.90"),
    ],
)  # fmt: skip
def test_what_is_said(rise, history, said):
    noise = [0.001 * (-1) ** i for i in range(20)]
    scores = {50: Scores([10.0] * 20, [10] * 20), 100: Scores([10.0 + 10 * (rise + n) for n in noise], [10] * 20)}
    text = summary(history, scores, 50, BEST)
    assert re.search(said, text) and "nan" not in text and "The adapter of step 50 is used (keep='best')." in text
    assert "step 100 is used (keep='last')" in summary(history, scores, 50, CONFIG)
    few = {step: Scores(found.nll[:2], found.tokens[:2]) for step, found in scores.items()}
    assert "Overfitting" not in summary(HISTORY, few, 50, BEST)


def test_the_first_of_equals_and_never_the_base():
    rows = [{"step": 0, "eval_loss": 0.5}, {"step": 2, "eval_loss": 1.0}, {"step": 4, "eval_loss": 1.0}]
    assert best_step(rows) == 2 and best_step(rows[:1]) is None
    assert best_step([{"step": 1, "eval_loss": float("nan")}, {"step": 3, "eval_loss": float("inf")}, *rows]) == 2
    assert held_out_losses([*rows, {"step": 4, "loss": 0.1}]) == {0: 0.5, 2: 1.0, 4: 1.0}
