"""A LoRA layer that computes with its merge in 4 bits, y = Q(W + s·BA) x, as a program does that reads it in 4 bits.

W is the base's 4-bit weight, moved off its levels (`off_levels`): from a level, most of the change would fall back.
Q, the rounding, has no slope: the gradients pass straight through it (Bengio and others, 2013), as if Q(V) were V.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Params4bit
from peft.tuners.lora.bnb import Linear4bit
from torch.nn.functional import linear

from helpers.model.device import sharded
from helpers.model.quantise import off_levels
from helpers.show.words import _

KIND = ("blocksize", "compress_statistics", "quant_type")  # how a weight was packed


def requantise(model: torch.nn.Module, on: bool = True) -> None:
    """Let each 4-bit LoRA layer of `model` compute with its merge in 4 bits, or as before with `on` False; in place.

    Raises ValueError where this is not possible: under FSDP, or with an adapter that is not plain LoRA.
    """
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    if sharded() or any(layer.lora_variant or any(layer.lora_bias.values()) for layer in layers):
        raise ValueError(_("merge_aware trains plain LoRA, on whole layers: use DDP instead of FSDP, and no DoRA."))
    for layer in layers:
        if isinstance(layer, Requantised) != on:
            layer.before, layer.__class__ = type(layer), Requantised if on else layer.before


class Straight(torch.autograd.Function):
    """Q(W + s·BA) x for `x` (tokens, in), A (rank, in), B (out, rank), and a `layer` that knows the rest."""

    @staticmethod
    def forward(ctx, x, a, b, layer):
        ctx.save_for_backward(x, a, b)
        ctx.layer = layer
        return linear(x, layer.merged_weight(a, b).to(x.dtype))

    @staticmethod
    def backward(ctx, gradient):
        x, a, b = ctx.saved_tensors
        low_a, low_b, scale = a.to(x.dtype), b.to(x.dtype), ctx.layer.scale
        of_a = (gradient @ low_b).mul_(scale).T @ x  # s·Bᵀ of (gradientᵀ x), which would be as large as W
        of_b = (gradient.T @ (x @ low_a.T)).mul_(scale)
        of_x = gradient @ ctx.layer.merged_weight(a, b).to(x.dtype) if ctx.needs_input_grad[0] else None
        return of_x, of_a.to(a.dtype), of_b.to(b.dtype), None


class Requantised(Linear4bit):
    """peft's 4-bit layer, merged before every product. Dropout is a part of the branch alone, and has no place here."""

    made_from = None
    get_base_layer: Any  # of which peft says no more than that it is a module

    def forward(self, x, *args, **kwargs):
        """(..., in) -> (..., out); without its adapter, or with several, as peft's layer."""
        if args or kwargs or self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return super().forward(x, *args, **kwargs)
        name, base = self.active_adapters[0], self.get_base_layer()
        low = x.to(base.weight.quant_state.dtype)
        flat = low.reshape(-1, low.shape[-1])
        y = Straight.apply(flat, self.lora_A[name].weight, self.lora_B[name].weight, self).unflatten(0, x.shape[:-1])
        return (y if base.bias is None else y + base.bias.to(y.dtype)).to(x.dtype)

    @property
    def scale(self) -> float:
        return self.scaling[self.active_adapters[0]]

    def merged_weight(self, a, b) -> torch.Tensor:
        """Q(W + s·BA), float32 (out, in). Its 4 bits are kept until A or B change: a second copy of the base's."""
        with torch.no_grad():
            if self.made_from is None or not all(map(torch.equal, self.made_from, (a, b))):
                packed = self.get_base_layer().weight
                whole = off_levels(packed.data, packed.quant_state).addmm_(b.float(), a.float(), alpha=self.scale)
                kind = {name: getattr(packed, name) for name in KIND}
                self.kept, self.made_from = quantize_4bit(whole, **kind), (a.clone(), b.clone())
            return dequantize_4bit(*self.kept)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """The weight that was trained becomes the base's: `merge_and_unload` gives the model that was trained."""
        (name,), base = adapter_names or self.active_adapters, self.get_base_layer()
        weight, packed = self.merged_weight(self.lora_A[name].weight, self.lora_B[name].weight), base.weight
        kind = {name: getattr(packed, name) for name in KIND}
        base.weight = cast(Any, Params4bit(weight.cpu(), requires_grad=False, **kind)).to(packed.device)
        self.merged_adapters.append(name)
