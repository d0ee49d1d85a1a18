"""The range test leaves the training as it was, and says why it suggests what it does."""

import math

import pytest
import torch

from helpers.data.prepare import prepare
from helpers.model.tokenizer import load_tokenizer
from helpers.settings import RunConfig
from helpers.train.probe import range_test, throwaway_trainer
from helpers.train.rate import probe_chart, rule_of_thumb, suggested_rate, suggestion
from tests.small_training import CONFIG, build
from tests.train.test_training import new_run


def test_a_trainer_that_was_probed_trains_as_if_it_had_not_been(tmp_path):
    losses = []
    for name in ("plain", "probed"):
        trainer = build(new_run(tmp_path / name), max_steps=2, save_steps=100, eval_strategy="no")
        if name == "probed":
            before = [weight.clone() for weight in trainer.model.parameters() if weight.requires_grad]
            state = torch.get_rng_state()
            rows = range_test(trainer, steps=24)
            assert torch.equal(state, torch.get_rng_state())
            after = [weight for weight in trainer.model.parameters() if weight.requires_grad]
            assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
            with pytest.raises(ValueError, match="low=1, high=0.1, steps=60 is no range"):
                range_test(trainer, low=1, high=0.1)
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert losses[0] == losses[1] and len(losses[0]) == 2
    assert rows[0]["learning_rate"] == pytest.approx(1e-6) and all(math.isfinite(row["loss"]) for row in rows)
    assert min(row["smooth"] for row in rows) < rows[0]["smooth"]
    found = suggested_rate(rows)
    assert 1e-5 < found <= 0.03 and f"{found:.0e}" in suggestion(rows, CONFIG, 64)
    assert "Range test from 1e-06 to" in probe_chart(rows).alt and "<img alt=" in probe_chart(rows)._repr_html_()


def test_the_throwaway_trainer_is_04s_and_writes_nothing(tmp_path):
    config = RunConfig.load("tiny", learning_rate=3e-3, lora_r=4)
    run = new_run(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="03_data_preview"):
        throwaway_trainer(run, config)
    prepare(config, run, load_tokenizer(config))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    trainer = throwaway_trainer(run, config)
    assert trainer.args.learning_rate == 3e-3 and trainer.model.peft_config["default"].r == 4
    assert len(trainer.train_dataset) == len(before[run.train_jsonl].splitlines())
    rows = range_test(trainer, steps=3)
    assert len(rows) == 3
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def curve(*losses):
    rates = [1e-6 * 10**i for i in range(len(losses))]
    return [{"learning_rate": rate, "loss": loss, "smooth": loss} for rate, loss in zip(rates, losses, strict=True)]


def test_a_tenth_of_where_it_breaks_and_nothing_without_a_fall():
    assert suggested_rate(curve(3.0, 2.9, 2.5, 2.0, 1.6, 1.9, 4.0)) == pytest.approx(0.1)  # 1.9 is within 1.25 of 1.6
    assert suggested_rate(curve(3.0, 2.9, 2.5, 2.0, 1.6, 2.01, 4.0)) == pytest.approx(0.01)  # 2.01 is not
    assert suggested_rate(curve(3.0, 2.9, 1.6, 9.0, 1.7, 4.0)) == pytest.approx(1e-2)  # one odd batch is no breakdown
    assert suggested_rate(curve(3.0, 2.9, 1.6, math.inf)) == pytest.approx(1e-4)
    assert suggested_rate(curve(3.0, 2.99, 2.98)) is None and suggested_rate([]) is None
    assert suggested_rate(curve(3.0, 2.9399)) == pytest.approx(1e-6) and suggested_rate(curve(3.0, 2.9401)) is None
    tiny = RunConfig.load("tiny")
    assert "broke down at 1.0e-04; a tenth of that, 1e-05, leaves room" in suggestion(curve(3.0, 2.0, 2.7), tiny, 64)
    assert "did not break down up to 1.0e-04" in suggestion(curve(3.0, 2.5, 2.0), tiny, 64)
    assert "suggests nothing" in suggestion(curve(3.0, 3.1), tiny, 64)


@pytest.mark.parametrize("losses", [(math.inf,), (math.inf, math.inf), (), (3.0,)])
def test_a_loss_that_is_no_number_suggests_nothing(losses):
    rows = curve(*losses)
    assert suggested_rate(rows) is None and "fork with" not in suggestion(rows, RunConfig.load("tiny"), 64)


@pytest.mark.parametrize(("rows", "few"), [(1, True), (20, True), (40, False)])
def test_rows_that_are_learned_by_heart_are_told(tmp_path, capsys, rows, few):
    trainer = build(new_run(tmp_path / "run"), rows=rows, eval_strategy="no", save_strategy="no")
    range_test(trainer, steps=2)
    assert ("rows are few" in capsys.readouterr().out) is few


def test_a_loss_that_breaks_at_once_leaves_the_trainer_as_it_was(tmp_path, monkeypatch):
    trainer = build(new_run(tmp_path / "run"), eval_strategy="no", save_strategy="no")
    healthy, trainer.model = trainer.compute_loss, trainer.model.eval()
    before = [weight.clone() for weight in trainer.model.parameters() if weight.requires_grad]
    monkeypatch.setattr(trainer, "compute_loss", lambda *args: healthy(*args) * math.nan)
    rows = range_test(trainer, steps=5)
    assert len(rows) == 1 and suggested_rate(rows) is None and not trainer.model.training
    after = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_rule_does_not_depend_on_the_rank_at_its_own_scale():
    config = {r: RunConfig.load("demo", lora_r=r, lora_alpha=32) for r in (1, 16, 64)}
    rates = {rule_of_thumb(one, 2000) for one in config.values()}
    assert len(rates) == 1 and rates.pop() == pytest.approx(5e-4)
    assert rule_of_thumb(config[16], 4096) == pytest.approx(5e-4 * (2000 / 4096) ** 0.781)
    qwen = RunConfig.load("demo", model_id="Qwen/Qwen2.5-0.5B", lora_alpha=32)
    assert rule_of_thumb(qwen, 4096) == pytest.approx(5e-4 * (2000 / 4096) ** 0.0775)
    # half the scale, twice the rate: the same step of the branch
    half = RunConfig.load("demo", lora_r=16, lora_alpha=16)
    assert rule_of_thumb(half, 2000) == pytest.approx(1e-3)
    rs = RunConfig.load("demo", lora_r=16, lora_alpha=32, use_rslora=True)
    assert rule_of_thumb(rs, 2000) == pytest.approx(5e-4 / 4)
