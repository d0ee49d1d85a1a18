"""On a CPU, a layer and its LoRA branch as one function: the same numbers, with fewer passes over them.

peft computes W x and s B A x, and adds them; here the branch is added where the product lies, forward and backward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from peft.tuners.lora import Linear
from peft.tuners.lora.bnb import Linear4bit
from torch.nn.functional import linear

from helpers.model.device import sharded
from helpers.model.unpacking import Unpacked4bit

if TYPE_CHECKING:
    from collections.abc import Iterable


def one_function_a_branch(model: torch.nn.Module) -> None:
    """Let each LoRA layer of `model` that lies on a CPU compute product and branch in one function.

    Not where the weight is stored as (in, out), as in GPT-2's Conv1D.
    """
    for layer in cast("Iterable[Any]", model.modules()):
        base = layer.get_base_layer() if type(layer) in ONE else None
        if isinstance(base, torch.nn.Linear) and base.weight.device.type == "cpu" and not sharded():
            layer.__class__ = ONE[type(layer)]


class Branch(torch.autograd.Function):
    """W x + bias + s B A z for `x` and `z` (tokens, in), where z is x or a part of it (dropout); -> (tokens, out).

    W and bias are frozen. A (rank, in) and B (out, rank) may have more bits than x: products have those of x.
    """

    @staticmethod
    def forward(ctx, x, z, weight, bias, a, b, scale):
        low_a, low_b = a.to(x.dtype), b.to(x.dtype)
        inner = z @ low_a.T
        ctx.save_for_backward(z, inner, low_a, low_b, weight)
        ctx.scale, ctx.same = scale, z is x
        return linear(x, weight, bias).addmm_(inner, low_b.T, alpha=scale)

    @staticmethod
    def backward(ctx, gradient):
        z, inner, low_a, low_b, weight = ctx.saved_tensors
        of_inner = (gradient @ low_b).mul_(ctx.scale)
        of_a, of_b = of_inner.T @ z, (gradient.T @ inner).mul_(ctx.scale)
        of_x, of_z = None, None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
        if ctx.same and of_x is not None:
            of_x.addmm_(of_inner, low_a)
        elif ctx.needs_input_grad[1]:
            of_z = of_inner @ low_a
        return of_x, of_z, None, None, of_a.float(), of_b.float(), None


class _OneFunction:
    """Of a peft layer: `Branch` where it is a plain one that is trained alone; else what peft does."""

    active_adapters: Any
    get_base_layer: Any
    lora_A: Any
    lora_B: Any
    lora_dropout: Any
    lora_variant: Any
    lora_bias: Any
    scaling: Any
    training: bool
    disable_adapters: Any
    merged: Any

    def forward(self, x, *args, **kwargs):
        weight = None if args or kwargs else self._dense(x)
        if weight is None:
            return cast(Any, super()).forward(x, *args, **kwargs)
        name, base = self.active_adapters[0], self.get_base_layer()
        flat, drop = x.reshape(-1, x.shape[-1]), self.lora_dropout[name]
        part = drop(flat) if self.training and not isinstance(drop, torch.nn.Identity) else flat
        bias = None if base.bias is None else base.bias.to(weight.dtype)
        a, b = self.lora_A[name].weight, self.lora_B[name].weight
        return Branch.apply(flat, part, weight, bias, a, b, self.scaling[name]).unflatten(0, x.shape[:-1])

    def _dense(self, x) -> torch.Tensor | None:
        """The frozen weight in the format of x, where one plain adapter is active; else None."""
        names, base = self.active_adapters, self.get_base_layer()
        if len(names) != 1 or names[0] not in self.lora_A or names[0] in self.lora_variant or self.lora_bias[names[0]]:
            return None
        if self.disable_adapters or self.merged:
            return None
        weight = base.dense(x) if isinstance(base, Unpacked4bit) else base.weight
        plain = weight is not None and weight.dtype == x.dtype and not weight.requires_grad
        return weight if plain else None


class OneFunction(_OneFunction, Linear):
    """peft's layer on a 16- or 32-bit one."""


class OneFunction4bit(_OneFunction, Linear4bit):
    """peft's layer on a 4-bit one that is unpacked once."""


ONE = {Linear: OneFunction, Linear4bit: OneFunction4bit}
