"""On a CPU, 4-bit weights are unpacked once instead of in every product: the same numbers, sooner, for more memory."""

from __future__ import annotations

from typing import Any, cast

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch.nn.functional import linear

from helpers.model.device import sharded
from helpers.model.memory import stays_unpacked


def unpack_once(model):
    """Let each 4-bit layer of `model` on a CPU keep its unpacked weight from its first use on; returns `model`.

    bitsandbytes unpacks it in every product. What is computed, saved, counted and merged stays the same bit for bit.
    Nothing changes where they do not fit (`stays_unpacked`), nor under FSDP, whose weights come anew.
    """
    layers = [layer for layer in model.modules() if type(layer) is Linear4bit and layer.weight.device.type == "cpu"]
    if layers and not sharded() and stays_unpacked(sum(map(unpacked_bytes, layers))):
        for layer in layers:
            layer.__class__ = Unpacked4bit
    return model


def unpacked_bytes(layer: Linear4bit) -> int:
    """Bytes of the unpacked weight of one 4-bit layer."""
    state = cast(Any, layer.weight).quant_state
    return state.shape.numel() * state.dtype.itemsize


class Unpacked4bit(Linear4bit):
    """A `Linear4bit` that remembers its unpacked weight, as long as its 4 bits do not change."""

    weight: Any
    made_from = (None, None, 0, 0)  # the packed weight, its constants, where its data lies, how often it was written to

    def dense(self, x) -> torch.Tensor | None:
        """The unpacked weight (out, in); None where `x` has to go through bitsandbytes' own product."""
        packed = self.weight
        state, kept = packed.quant_state, self.made_from
        repacked = getattr(state, "packing_format_for_cpu", False)
        if x.device.type != "cpu" or self.compute_dtype != state.dtype or repacked or packed.is_inference():
            return None
        place = (packed.data_ptr(), packed._version)
        if kept[0] is not packed or kept[1] is not state or kept[2:] != place:
            with torch.inference_mode(False), torch.no_grad():  # also a training may use what an answer unpacked
                self.unpacked = dequantize_4bit(packed.data, state)
            self.made_from = (packed, state, *place)
        return self.unpacked

    def forward(self, x):
        """(..., in) -> (..., out), as `Linear4bit` computes it."""
        weight = self.dense(x)
        if weight is None:
            return super().forward(x)
        bias = None if self.bias is None else self.bias.to(weight.dtype)
        return linear(x.to(weight.dtype), weight, bias).to(x.dtype)
