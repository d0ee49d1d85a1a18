import copy
import json
import re
import shutil

import pytest
import torch
from transformers import AutoConfig

from helpers.machine.checks import check_disk
from helpers.model import device
from helpers.model.device import attention, compute_dtype, weight_dtype
from helpers.model.generation import require_usable
from helpers.model.load import load_base_model
from helpers.model.quantise import keep_gradients, quantization_config, refuse_quantised
from helpers.model.refusal import Refused
from helpers.model.shapes import model_config
from helpers.settings import RunConfig


def test_config_object_says_what_the_settings_say():
    config = quantization_config(RunConfig.load("tiny", quant_type="fp4", double_quant=False, compute_dtype="float32"))
    assert (config.load_in_4bit, config.bnb_4bit_quant_type) == (True, "fp4")
    assert (config.bnb_4bit_use_double_quant, config.bnb_4bit_compute_dtype) == (False, torch.float32)
    assert quantization_config(RunConfig.load("tiny", load_in_4bit=False)) is None


@pytest.mark.parametrize(
    ("has_it", "slower", "dtype"),
    [(True, 0.5, torch.bfloat16), (True, 1.1, torch.bfloat16), (True, 1.8, torch.float32), (False, 0.5, torch.float32)],
)
def test_auto_means_bfloat16_on_a_cpu_that_is_quick_at_it_and_float32_on_others(monkeypatch, has_it, slower, dtype):
    """1.8 is that of an Intel Xeon with AVX512-BF16."""
    monkeypatch.setattr("bitsandbytes.functional.has_avx512bf16", lambda: has_it)
    monkeypatch.setattr(device, "_seconds", {torch.bfloat16: slower, torch.float32: 1.0}.get)
    monkeypatch.setattr(device, "_quick_at_bfloat16", device._quick_at_bfloat16.__wrapped__)
    assert compute_dtype(RunConfig.load("tiny")) is dtype
    assert weight_dtype(RunConfig.load("tiny")) is torch.bfloat16  # a merge is written in 16 bits either way
    assert weight_dtype(RunConfig.load("tiny", compute_dtype="float32")) is torch.float32  # but as it was asked for
    assert compute_dtype(RunConfig.load("tiny", compute_dtype="float16")) is torch.float16


def test_layers_are_really_4_bit(tiny_model):
    from bitsandbytes.nn import Linear4bit

    model = load_base_model(RunConfig.load("tiny"))
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 4 * 7 and all(layer.weight.dtype is torch.uint8 for layer in layers)
    plain = load_base_model(RunConfig.load("tiny"), four_bit=False)
    assert not any(isinstance(module, Linear4bit) for module in plain.modules())


def gradient_below(layer, evaluated: bool = True) -> torch.Tensor:
    """What comes back to a layer's input when the sum of its outputs is the loss, after an evaluation."""
    inputs = torch.linspace(-1, 1, 128, dtype=torch.bfloat16).repeat(4, 1).requires_grad_()
    if evaluated:
        with torch.no_grad():
            layer.eval()(inputs.detach())
    layer.train()(inputs).sum().backward()
    return inputs.grad


def test_gradients_still_flow_after_an_evaluation():
    """And not without `keep_gradients`; when that fails, bitsandbytes has mended it and keep_gradients can go."""
    from bitsandbytes.functional import has_avx512bf16
    from bitsandbytes.nn import Linear4bit

    plain = Linear4bit(128, 256, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    layer = keep_gradients(copy.deepcopy(plain)).to("cpu")
    before = gradient_below(layer, evaluated=False)
    assert before.abs().sum() > 0 and torch.equal(before, gradient_below(layer))
    if not has_avx512bf16():
        pytest.skip("bitsandbytes repacks only on a CPU with AVX512-BF16")
    assert gradient_below(plain.to("cpu")) is None


@pytest.mark.parametrize(
    ("model", "capability", "kernel"), [("llama", 8, "flash_attention_2"), ("llama", 7, None), ("bloom", 9, None)]
)
def test_flash_attention_is_used_where_card_and_architecture_know_it(monkeypatch, tmp_path, model, capability, kernel):
    AutoConfig.for_model(model).save_pretrained(tmp_path)
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (capability, 0))
    assert attention(RunConfig.load("tiny", model_id=str(tmp_path))) == kernel


# as the config.json of each kind says it (fields that do not matter left out)
QUANTISED = {
    "bitsandbytes": {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}},
    "fp8": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "awq": {"quantization_config": {"quant_method": "awq", "bits": 4}},
    "mxfp4": {"quantization_config": {"quant_method": "mxfp4"}},
    "compressed-tensors": {"text_config": {"quantization_config": {"quant_method": "compressed-tensors"}}},
    "torchao": {"thinker_config": {"text_config": {"quantization_config": {"quant_method": "torchao"}}}},
}


@pytest.mark.parametrize("kind", QUANTISED)
@pytest.mark.parametrize("four_bit", [True, False])
def test_a_base_that_is_already_quantised_is_refused(tiny_model, tmp_path, kind, four_bit):
    """In 00 and 01, from config.json alone, and wherever a base is loaded: trained, it failed later or was noise."""
    folder = tmp_path / "some-model-bnb-4bit"
    shutil.copytree(tiny_model, folder)
    numbers = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**numbers, **QUANTISED[kind]}))
    config = RunConfig.load("tiny", model_id=str(folder), load_in_4bit=four_bit)
    told = rf"is already quantised \({kind}\).* its 16-bit original, perhaps '{tmp_path}/some-model'"
    for needs in (model_config, load_base_model) if kind not in ("compressed-tensors", "torchao") else (model_config,):
        with pytest.raises(ValueError, match=told):
            needs(config)
    row = check_disk(config)  # a red row of 01, which stops there
    assert not row.ok and re.search(told, row.fix)


def test_a_base_without_quantisation_passes(tiny_model):
    refuse_quantised({"quantization_config": None, "text_config": {"vocab_size": 3}}, "some/model-awq-is-only-its-name")
    config = RunConfig.load("tiny", model_id=tiny_model, compute_dtype="bfloat16")
    assert load_base_model(config, four_bit=False).dtype is torch.bfloat16


@pytest.fixture
def load_with(tiny_model, tmp_path):
    """A function that loads a copy of the tiny model after `change` was done to the weights of its file."""
    from safetensors.torch import load_file, save_file

    def load(change, four_bit=False):
        shutil.copytree(tiny_model, tmp_path / "base", dirs_exist_ok=True)
        weights = load_file(tmp_path / "base" / "model.safetensors")
        change(weights)
        save_file(weights, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
        load_base_model(RunConfig.load("tiny", model_id=str(tmp_path / "base")), four_bit)

    return load


@pytest.mark.parametrize(
    "beside",
    ["weight_scale", "weight_scale_inv", "weight_scale_2", "input_scale", "scales", "weight.absmax", "weight.SCB"],
)
def test_packed_weights_without_their_config_are_refused(load_with, beside):
    """FP8 numbers load as they are, hundreds of times too large, and transformers only warns of the scales."""
    name = "model.layers.0.mlp.up_proj"

    def pack(weights):
        weights[f"{name}.{beside}"] = scale = weights[f"{name}.weight"].abs().max().float() / 448
        weights[f"{name}.weight"] = (weights[f"{name}.weight"].float() / scale).to(torch.float8_e4m3fn)

    with pytest.raises(ValueError, match=rf"hold {name}.{beside} \(1 such numbers\).* Use the 16-bit original"):
        load_with(pack)


def test_other_numbers_that_no_module_reads_are_no_reason(load_with):
    names = ("logit_scale", "model.layers.0.self_attn.k_scale", "vision.blocks.0.norm.weight")
    load_with(lambda weights: weights.update({name: torch.ones(1) for name in names}))


@pytest.mark.parametrize("four_bit", [True, False])
def test_a_weight_that_no_file_holds_is_refused(load_with, four_bit):
    """transformers fills it with random numbers and only warns, as for files of packed weights without their config."""
    name = "model.layers.2.mlp.up_proj"
    with pytest.raises(ValueError, match=rf"lack {name}.weight .1 weights in all.*random numbers"):
        load_with(lambda weights: weights.update({f"{name}.qweight": weights.pop(f"{name}.weight")}), four_bit)


@pytest.mark.parametrize(("free", "place"), [(10**9, {"": 0}), (10**6, "auto")])
def test_a_merged_model_larger_than_the_card_spills_into_the_machines_memory(tiny_model, monkeypatch, free, place):
    import transformers

    class Stop(Exception):
        pass

    def loaded(**settings):
        raise Stop(settings["device_map"])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, free))
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", loaded)
    with pytest.raises(Stop) as stop:
        load_base_model(RunConfig.load("tiny"), four_bit=False, source=tiny_model)
    assert stop.value.args[0] == place


def test_the_products_of_this_cpu_are_timed(monkeypatch):
    monkeypatch.setattr("bitsandbytes.functional.has_avx512bf16", lambda: True)
    slower = device._seconds(torch.bfloat16) / device._seconds(torch.float32)
    quick = device._quick_at_bfloat16.__wrapped__()
    assert quick if slower < 0.8 else not quick if slower > 2 else True  # between, the second timing may say otherwise


@pytest.mark.parametrize("text", [b"", b'{"eos_token_id": [', b"\xff\xfe{}"], ids=["empty", "half", "UTF-16"])
def test_half_a_generation_config_is_refused_before_the_training(tmp_path, text):
    """It was taken for none; 05 reads it itself, after the training, and ended in a JSONDecodeError."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    config = RunConfig.load("tiny", model_id=str(tmp_path))
    require_usable(config)  # none
    (tmp_path / "generation_config.json").write_bytes(text)
    with pytest.raises(Refused, match=r"generation_config\.json cannot be read as JSON \(.+\): download it again"):
        require_usable(config)
