"""4 bits: the library's config object, a weight as the 4-bit model sees it, and bases that are quantised already."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from helpers.model.device import compute_dtype, sharded
from helpers.model.refusal import Reason, Refused
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel

EDGE = 1e-4  # of the way between two middles: so far from both, a weight stays its own when it is rounded
PACKED_NAME = re.compile(
    r"[-_.](unsloth[-_]|quantized[.])?(bnb[-_]4bit|4bit|8bit|gptq|awq|fp8|int[48]|w\d+a\d+|mxfp4)\b.*", re.I
)


def quantization_config(config: RunConfig) -> BitsAndBytesConfig | None:
    """The `BitsAndBytesConfig` of the run; None when config.load_in_4bit is False."""
    from transformers import BitsAndBytesConfig

    if not config.load_in_4bit:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.quant_type,
        bnb_4bit_use_double_quant=config.double_quant,
        bnb_4bit_compute_dtype=compute_dtype(config),
        bnb_4bit_quant_storage=quant_storage(config),
    )


def quant_storage(config: RunConfig) -> torch.dtype:
    """The dtype that the packed weights lie in: bytes; under FSDP that of the products, since it shards floats only.

    Source: bitsandbytes' page FSDP-QLoRA.
    """
    import torch

    return compute_dtype(config) if sharded() else torch.uint8


def keep_gradients(model: PreTrainedModel) -> PreTrainedModel:
    """Make the 4-bit layers of `model` keep their layout, so that gradients always pass; returns `model`.

    On a CPU with AVX512-BF16, bitsandbytes 0.50 repacks a weight at its first evaluation; then no gradient comes back.
    """
    from bitsandbytes.nn import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False
    return model


def through_4bit(weight: torch.Tensor, config: RunConfig) -> torch.Tensor:
    """`weight` as the 4-bit model sees it: quantised as on loading, and written out in its dtype."""
    return rounded(weight.to(compute_dtype(config)), config.quant_type, config.double_quant)


def rounded(weight: torch.Tensor, quant_type: str, double_quant: bool, blocksize: int = 64) -> torch.Tensor:
    """`weight` after 4 bits, in its own dtype."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    kind = {"quant_type": quant_type, "compress_statistics": double_quant, "blocksize": blocksize}
    return dequantize_4bit(*quantize_4bit(weight, **kind))


def off_levels_of(weight: torch.Tensor, config: RunConfig) -> torch.Tensor:
    """`off_levels` of a 16-bit `weight`, after it was quantised as on loading."""
    from bitsandbytes.functional import quantize_4bit

    kind = {"compress_statistics": config.double_quant, "quant_type": config.quant_type}
    return off_levels(*quantize_4bit(weight.to(compute_dtype(config)), **kind))


def off_levels(packed: torch.Tensor, state) -> torch.Tensor:
    """The weight of 4 bits, each number moved off its level to a fixed place between the middles beside it; float32.

    Rounded again, it is the same weight. But a change that is added first arrives on average: the larger it is, the
    more numbers cross a middle, where from their levels none would. (Dither: Roberts, 1962.) The places are the
    same on every device. The largest number of a block stays, and so the scale.
    """
    import torch
    from bitsandbytes.functional import dequantize_blockwise

    known = state.code.unique()
    middles = (known[1:] + known[:-1]) / 2
    place = torch.searchsorted(known, state.code)
    low, high = torch.cat([known[:1], middles])[place], torch.cat([middles, known[-1:]])[place]
    low, high = (torch.where(state.code.abs() == 1, state.code, edge) for edge in (low, high))
    codes = torch.stack([packed.view(torch.uint8) >> 4, packed.view(torch.uint8) & 15], -1).flatten()
    codes = codes[: state.shape.numel()].int()
    place = torch.arange(len(codes), device=codes.device)
    for _round in range(2):  # scattered: places that repeat from row to row would move all outputs the same way
        place = (place ^ (place >> 16)).mul_(0x45D9F3B).bitwise_and_(2**32 - 1)
    scattered = (place ^ (place >> 16)).float().div_(2**32)
    table = torch.stack([low + EDGE * (high - low), (1 - 2 * EDGE) * (high - low)], 1)
    start, width = torch.nn.functional.embedding(codes, table).unbind(1)
    scale = dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
    whole = scattered.mul_(width).add_(start).mul_(scale.repeat_interleave(state.blocksize)[: len(codes)])
    return whole.view(state.shape)


def own_quantisation(numbers: dict) -> str:
    """How a model's files are quantised already, by its config.json (`numbers`): gptq ...; "" for 16 bits."""
    for key, value in numbers.items():
        if key in ("quantization_config", "compression_config") and value:
            method = value.get("quant_method") or "bitsandbytes" if isinstance(value, dict) else value
            return str(method)  # as transformers reads it
        if isinstance(value, dict) and (method := own_quantisation(value)):
            return method
    return ""


def refuse_quantised(numbers: dict, name: str) -> None:
    """Raises `Refused` (QUANTISED) for a base model whose weights are packed in fewer than 16 bits, with a way out."""
    method = own_quantisation(numbers)
    if not method:
        return
    plain, original = PACKED_NAME.sub("", name), _("its 16-bit original (often named ...-BF16)")
    if plain != name:
        original = _("its 16-bit original, perhaps {plain!r}").format(plain=plain)
    sentence = _(
        "model_id={name!r} is already quantised ({method}), so it has no 16-bit weights to train on and to merge into: "
        "use {original}. QLoRA makes its own 4 bits of it."
    )
    raise Refused(Reason.QUANTISED, sentence.format(name=name, method=method, original=original))
