"""4-bit layers on a CPU that keep their unpacked weight: the same numbers, and never an old weight."""

import copy

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Params4bit

from helpers.model import memory
from helpers.model.load import load_base_model
from helpers.model.unpacking import Unpacked4bit, unpack_once
from helpers.settings import RunConfig

FORMATS = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


def layer(dtype=torch.float32, bias=True, seed=0, **how):
    torch.manual_seed(seed)
    made = Linear4bit(96, 64, bias=bias, compute_dtype=dtype, **how)
    made.support_avx512bf16_for_cpu = False
    return made.to(dtype).to("cpu")


@FORMATS
@pytest.mark.parametrize("how", [{}, {"quant_type": "nf4"}, {"compress_statistics": False}], ids=str)
def test_forward_and_gradient_are_the_same_bit_for_bit(dtype, how):
    packed = layer(dtype, **how).requires_grad_(False)
    kept = unpack_once(copy.deepcopy(packed))
    assert type(kept) is Unpacked4bit and isinstance(kept, Linear4bit)
    x = torch.randn(3, 5, 96).to(dtype)
    found = []
    for one in (packed, kept, kept):  # the second time from what it kept
        mine = x.clone().requires_grad_()
        y = one(mine)
        y.square().sum().backward()
        found.append((y, mine.grad))
    for y, gradient in found[1:]:
        assert torch.equal(y, found[0][0]) and torch.equal(gradient, found[0][1])


def test_what_an_answer_unpacked_can_be_trained_with():
    kept = unpack_once(layer())
    with torch.inference_mode():
        kept(torch.randn(2, 96))
    x = torch.randn(2, 96, requires_grad=True)
    kept(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("change", ["another weight", "other data", "in place"])
def test_an_old_weight_is_never_used(change):
    """peft's merge_and_unload gives the layer another weight."""
    kept, other = unpack_once(layer(seed=0)), layer(seed=1)
    x = torch.randn(4, 96)
    before = kept(x)
    if change == "another weight":
        kept.weight = other.weight
    else:
        kept.weight.quant_state = other.weight.quant_state
        if change == "other data":
            kept.weight.data = other.weight.data
        else:
            kept.weight.data.copy_(other.weight.data)
    kept.bias = other.bias
    assert torch.equal(kept(x), other(x)) and not torch.equal(kept(x), before)


def test_the_files_and_the_parameters_hold_four_bits():
    packed, kept = layer(), unpack_once(layer())
    kept(torch.randn(1, 96))
    assert kept.state_dict().keys() == packed.state_dict().keys()
    assert [type(parameter) for parameter in kept.parameters()] == [Params4bit, torch.nn.Parameter]


def test_where_memory_is_short_the_weights_stay_packed(monkeypatch):
    need = 96 * 64 * 4  # bytes in float32
    for free, kind in ((2 * need - 1, Linear4bit), (2 * need, Unpacked4bit)):
        monkeypatch.setattr(memory, "free_ram", lambda free=free: free)
        assert type(unpack_once(layer())) is kind


def test_a_loaded_model_unpacks_once_and_a_merge_on_it_is_seen(tiny_model):
    from peft import get_peft_model

    from helpers.model.lora import lora_config

    config = RunConfig.load("tiny")
    base = load_base_model(config)
    kinds = {type(module) for module in base.modules() if isinstance(module, Linear4bit)}
    assert kinds == {Unpacked4bit}
    model = get_peft_model(base, lora_config(config)).eval()
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        before = model(ids).logits
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    with torch.inference_mode():
        apart = model(ids).logits
        merged = model.merge_and_unload()(ids).logits
    assert (merged - apart).abs().mean() < (merged - before).abs().mean()  # up to the rounding to 4 bits
