"""merge_aware: the gradients, the phase, an exact resume, and that the model that was trained is the requantised merge."""

import json
from dataclasses import replace

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from peft.tuners.lora.bnb import Linear4bit
from transformers import TrainerControl, TrainerState

from helpers.evaluate.held_out import held_out_nll
from helpers.files import read_json, read_jsonl
from helpers.merge.shards import merge_shards
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter
from helpers.model.quantise import off_levels, rounded
from helpers.model.requantised import Requantised, requantise
from helpers.model.tokenizer import load_tokenizer
from helpers.settings import RunConfig
from helpers.train.arguments import QUIET
from helpers.train.best import HeldOut, KeepBest, aware_from
from helpers.train.callbacks import callbacks
from helpers.train.start import begin_from
from tests.small_training import CONFIG, build, train
from tests.train.test_training import Ask, assert_same_training, new_run

AWARE = replace(
    CONFIG, merge_aware=True, merge_aware_from=0.5, keep="best", eval_steps=3, lora_dropout=0.0, compute_dtype="float32"
)  # aware from step 7 of 14 on


@pytest.fixture(scope="module")
def aware(tmp_path_factory):
    run = new_run(tmp_path_factory.mktemp("aware") / "run")
    return run, train(run, AWARE, bf16=False)


def some_layer(folder, config=AWARE):
    trainer = build(new_run(folder), config, bf16=False, **QUIET)
    layer = next(layer for layer in trainer.model.modules() if isinstance(layer, Linear4bit))
    torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.05)
    return trainer, layer


@pytest.mark.parametrize("kind", [{}, {"quant_type": "fp4", "double_quant": False}, {"use_rslora": True}], ids=str)
def test_the_gradients_are_those_of_the_straight_through_formula(tmp_path, kind):
    trainer, layer = some_layer(tmp_path / "run", replace(AWARE, **kind))
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(2, 5, layer.in_features, requires_grad=True)
    target = torch.randn(2, 5, layer.out_features)
    plain = layer(x)
    requantise(trainer.model)
    y = layer(x)
    mine = torch.autograd.grad((y * target).sum(), (x, a, b))

    packed = layer.get_base_layer().weight
    merged = off_levels(packed.data, packed.quant_state) + layer.scaling["default"] * b @ a
    four = quantize_4bit(merged, compress_statistics=AWARE.double_quant and not kind.get("quant_type"),
                         quant_type=kind.get("quant_type", "nf4"))  # fmt: skip
    through = merged + (dequantize_4bit(*four) - merged).detach()
    theirs = torch.autograd.grad(((x @ through.T) * target).sum(), (x, a, b))
    torch.testing.assert_close(y, x @ through.T, rtol=1e-4, atol=1e-4)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(y, plain, atol=1e-3)  # the rounding is in it
    requantise(trainer.model, on=False)
    assert torch.equal(layer(x), plain)


@pytest.mark.parametrize("double_quant", [True, False])
@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", [(192, 576), (50, 31)])  # 31: blocks go on in the next row, and the last one is short
@torch.compiler.set_stance("force_eager")  # bitsandbytes compiles its code for short blocks, for 15 seconds
def test_off_its_levels_a_weight_stays_what_it_is_and_a_change_arrives(quant_type, double_quant, shape):
    torch.manual_seed(0)
    weight, change = torch.randn(shape) / 10, 4e-4 * torch.randn(shape[0], 8) @ torch.randn(8, shape[1])
    packed, state = quantize_4bit(weight, compress_statistics=double_quant, quant_type=quant_type)
    level, off = dequantize_4bit(packed, state), off_levels(packed, state)
    assert (rounded(off, quant_type, double_quant) - level).abs().max() < 0.01 * level.abs().max()
    assert (off - level).abs().mean() > 0.05 * level.abs().mean()
    before = rounded(off, quant_type, double_quant)

    def arrives(after, before):
        return float(((after - before) * change).sum() / (change**2).sum())

    assert arrives(rounded(level + change, quant_type, double_quant), before) < 0.2
    assert 0.7 < arrives(rounded(off + change, quant_type, double_quant), before) < 1.3


def test_a_change_of_the_adapter_is_seen_however_it_is_made(tmp_path):
    trainer, layer = some_layer(tmp_path / "run")
    requantise(trainer.model)
    x, b = torch.randn(3, layer.in_features), layer.lora_B["default"].weight
    with torch.inference_mode():
        first = layer(x)
    b.data.mul_(3.0)  # as some optimizers do, without a new version
    second = layer(x)
    assert not torch.allclose(first, second, atol=1e-3) and second.requires_grad
    with trainer.model.disable_adapter():
        assert torch.equal(layer(x), layer.get_base_layer()(x))


def test_checkpointing_changes_nothing(tmp_path):
    losses, gradients = [], []
    for on in (False, True):
        config = replace(AWARE, activation_checkpointing=on)
        trainer, _layer = some_layer(tmp_path / str(on), config)
        requantise(trainer.model.train())
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([w.grad.flatten() for w in trainer.model.parameters() if w.requires_grad]))
    assert losses[0] == losses[1] and torch.allclose(*gradients, atol=1e-6) and gradients[0].norm() > 0.01


def test_what_was_trained_is_the_requantised_merge(aware, tmp_path):
    run, trainer = aware
    rows, kept = trainer.eval_dataset, HeldOut.read(run)
    trained = load_adapter(load_base_model(AWARE), run.adapter)
    assert held_out_nll(trained, rows).nll == pytest.approx(kept.nll, rel=1e-4)
    load_tokenizer(AWARE).save_pretrained(run.adapter)
    alone = load_adapter(load_base_model(replace(AWARE, merge_aware=False)), run.adapter)
    ids = torch.tensor([rows["input_ids"][0]])
    with torch.inference_mode():
        wanted, other = trained(input_ids=ids).logits, alone(input_ids=ids).logits
        merged = load_adapter(load_base_model(AWARE), run.adapter).merge_and_unload()(input_ids=ids).logits
        folder = merge_shards(AWARE, run.adapter, tmp_path / "merged", "requantised")
        again = [load_base_model(AWARE, four_bit=four, source=str(folder)) for four in (False, True)]
        read = [model(input_ids=ids).logits for model in again]
    off = [float((logits - wanted).square().mean().sqrt() / wanted.std()) for logits in (merged, *read, other)]
    assert max(off[:3]) < off[3] / 5, off  # the adapter on the plain 4-bit base is another model


def test_only_the_losses_of_the_merge_choose_the_checkpoint(aware):
    run, trainer = aware
    assert [row["step"] for row in read_jsonl(run.metrics) if "eval_loss" in row] == [0, 3, 6, 9, 12, 14]
    history = read_json(run.trainer / "checkpoint-14" / "trainer_state.json")["log_history"]
    assert [row["step"] for row in history if "eval_loss" in row] == [0, 9, 12, 14]
    assert [row["step"] for row in history if "eval_loss_before_merge_aware" in row] == [3, 6]
    assert HeldOut.read(run).step > 7
    layers = [layer for layer in trainer.model.modules() if isinstance(layer, Linear4bit)]
    assert layers and all(isinstance(layer, Requantised) for layer in layers)


def test_what_goes_on_from_it_begins_as_the_model_that_was_trained(aware, tmp_path):
    run, later, config = aware[0], new_run(tmp_path / "later"), replace(AWARE, start_from=str(aware[0].adapter))
    later.eval_jsonl.parent.mkdir()
    later.eval_jsonl.touch()
    trainer = build(later, config, bf16=False, **QUIET)
    begin_from(trainer, later, config)
    assert read_json(later.start_scores)["nll"] == pytest.approx(HeldOut.read(run).nll, rel=1e-6)
    assert not any(isinstance(layer, Requantised) for layer in trainer.model.modules())  # until its phase begins


@pytest.mark.parametrize("step", [4, 9])
def test_a_resume_before_and_in_the_phase_is_exact(aware, tmp_path, monkeypatch, step, capsys):
    run = new_run(tmp_path / "stopped")
    real = callbacks
    monkeypatch.setattr("helpers.train.callbacks.callbacks", lambda run, config: [*real(run, config), Ask(run, step)])
    with pytest.raises(Exception, match="not finished|stopped"):
        train(run, AWARE, bf16=False)
    monkeypatch.undo()
    train(run, AWARE, bf16=False)
    assert f"Resuming from checkpoint-{step + 1}." in capsys.readouterr().out
    assert_same_training(run, aware[0])
    assert HeldOut.read(run) == HeldOut.read(aware[0])


@pytest.mark.parametrize(("steps", "stops"), [((3, 6), False), ((3, 7), False), ((8, 9), True)])
def test_patience_waits_for_the_phase(steps, stops):
    rows = [{"step": step, "eval_loss": float(step)} for step in steps]  # the second is higher than the first
    state, control = TrainerState(global_step=steps[-1], max_steps=14, log_history=rows), TrainerControl()
    KeepBest(replace(AWARE, patience=1)).on_evaluate(None, state, control)
    assert control.should_training_stop == stops


def test_off_by_default_and_impossible_without_4_bits(tmp_path):
    assert not RunConfig().merge_aware and aware_from(RunConfig(), 60) == 0 and aware_from(AWARE, 14) == 7
    run = new_run(tmp_path / "run")
    assert not any("MergeAware" in type(one).__name__ for one in callbacks(run, CONFIG))
    with pytest.raises(ValueError, match="load_in_4bit=True"):
        RunConfig(merge_aware=True, load_in_4bit=False)
    assert json.loads(AWARE.to_json())["merge_aware"] is True
