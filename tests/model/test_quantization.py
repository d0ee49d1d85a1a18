import pytest
import torch

from helpers.config import RunConfig
from helpers.model import quantization
from helpers.model.quantization import (
    attention,
    compute_dtype,
    keep_gradients,
    load_base_model,
    quantization_config,
    weight_dtype,
)


def test_config_object_says_what_the_settings_say():
    config = quantization_config(RunConfig.load("tiny", quant_type="fp4", double_quant=False, compute_dtype="float32"))
    assert (config.load_in_4bit, config.bnb_4bit_quant_type) == (True, "fp4")
    assert (config.bnb_4bit_use_double_quant, config.bnb_4bit_compute_dtype) == (False, torch.float32)
    assert quantization_config(RunConfig.load("tiny", load_in_4bit=False)) is None


def test_auto_means_bfloat16_on_a_cpu_that_has_it_and_float32_on_others(monkeypatch):
    for flags, dtype in (("fma avx512_bf16", torch.bfloat16), ("fma avx2 avx512f", torch.float32)):
        with monkeypatch.context() as patch:
            patch.setattr(quantization.Path, "read_text", lambda path, encoding, flags=flags: f"flags\t\t: {flags}\n")
            assert compute_dtype(RunConfig.load("tiny")) is dtype
            assert weight_dtype(RunConfig.load("tiny")) is torch.bfloat16  # a merge is written in 16 bits either way
    assert compute_dtype(RunConfig.load("tiny", compute_dtype="float16")) is torch.float16


def test_layers_are_really_4_bit(tiny_model):
    from bitsandbytes.nn import Linear4bit

    model = load_base_model(RunConfig.load("tiny"))
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 4 * 7 and all(layer.weight.dtype is torch.uint8 for layer in layers)
    plain = load_base_model(RunConfig.load("tiny"), four_bit=False)
    assert not any(isinstance(module, Linear4bit) for module in plain.modules())


def gradient_below(layer) -> torch.Tensor:
    """What comes back to a layer's input when the sum of its outputs is the loss."""
    inputs = torch.linspace(-1, 1, 128, dtype=torch.bfloat16).repeat(4, 1).requires_grad_()
    layer.train()(inputs).sum().backward()
    return inputs.grad


def test_gradients_still_flow_after_an_evaluation():
    from bitsandbytes.nn import Linear4bit

    layer = keep_gradients(Linear4bit(128, 256, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")).to("cpu")
    before = gradient_below(layer)
    with torch.no_grad():
        layer.eval()(torch.ones(4, 128, dtype=torch.bfloat16))
    after = gradient_below(layer)
    assert before.abs().sum() > 0 and torch.equal(before, after)


def test_the_trap_is_real():
    """The same without keep_gradients; when this fails, bitsandbytes has mended it and keep_gradients can go."""
    from bitsandbytes.functional import has_avx512bf16
    from bitsandbytes.nn import Linear4bit

    if not has_avx512bf16():
        pytest.skip("bitsandbytes repacks only on a CPU with AVX512-BF16")
    layer = Linear4bit(128, 256, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4").to("cpu")
    with torch.no_grad():
        layer.eval()(torch.ones(4, 128, dtype=torch.bfloat16))
    inputs = torch.ones(4, 128, dtype=torch.bfloat16, requires_grad=True)
    layer.train()(inputs).sum().backward()
    assert inputs.grad is None


@pytest.mark.parametrize(
    ("model", "capability", "kernel"), [("llama", 8, "flash_attention_2"), ("llama", 7, None), ("bloom", 9, None)]
)
def test_flash_attention_is_used_where_card_and_architecture_know_it(monkeypatch, tmp_path, model, capability, kernel):
    from transformers import AutoConfig

    AutoConfig.for_model(model).save_pretrained(tmp_path)
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (capability, 0))
    assert attention(RunConfig.load("tiny", model_id=str(tmp_path))) == kernel
