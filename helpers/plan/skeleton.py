"""A model as QLoRA trains it, on tensors without numbers: 4-bit layers, adapter, checkpointing, TRL's loss head."""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes.functional import quantize_4bit
from bitsandbytes.nn.modules import Linear4bit
from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from trl.trainer.utils import add_fused_lm_head

from helpers.model.branch import one_function_a_branch
from helpers.model.device import compute_dtype
from helpers.model.lora import lora_config
from helpers.model.meta import keep_layers, layer_kinds, name_experts, not_packed, on_meta, unreachable
from helpers.model.quantise import keep_gradients, quantization_config
from helpers.model.unpacking import Unpacked4bit
from helpers.plan.tracker import StorageTracker
from helpers.settings import RunConfig


def skeleton(config: RunConfig, model_config: dict, places: tuple[int, ...] = ()) -> PeftModel:
    """The model of a config.json on "meta". `places`: the layers that are left, by their place in it; () = all.

    Raises NotImplementedError for a model that TRL's loss cannot train.
    """
    # None: sdpa, or eager for a model without it; FlashAttention needs as much as sdpa
    attention = "eager" if config.attn_implementation == "eager" else None
    model: Any = on_meta(model_config, dtype=compute_dtype(config), attn_implementation=attention)
    if reason := unreachable(model):
        raise NotImplementedError(reason)
    name_experts(model)
    if places:
        keep_only(model, places)
    if config.load_in_4bit:
        replace_with_bnb_linear(model, not_packed(model), quantization_config(config))
        model.is_loaded_in_4bit = True
        keep_gradients(model)
    if config.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model = get_peft_model(model, lora_config(config), low_cpu_mem_usage=True)
    if config.activation_checkpointing:
        model.enable_input_require_grads()
    # what SFTTrainer does: experts are to be used evenly, and the loss comes in tiles, never all logits at once
    text = model.config.get_text_config()
    if hasattr(text, "output_router_logits"):
        text.output_router_logits = bool(getattr(text, "router_aux_loss_coef", 0.0))
    base: Any = model.get_base_model()
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    return model.train()


def keep_only(model: PreTrainedModel, places: tuple[int, ...]) -> None:
    """Leave only the layers at `places` in `model`, and what its config says about each of them."""
    (path, kinds), settings = layer_kinds(model), model.config.get_text_config(decoder=True)
    keep_layers(model, path, places)
    for name, value in vars(settings).items():
        if isinstance(value, (list, tuple)) and len(value) == len(kinds):
            setattr(settings, name, [value[place] for place in places])
    settings.num_hidden_layers = len(places)


def fill(model: PeftModel, config: RunConfig, tracker: StorageTracker) -> None:
    """Give every tensor a storage (a fake one under FakeTensorMode): 4-bit, 16-bit, adapter; tied ones share."""
    made = {}
    for name, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for key, old in tensors.items():
                if old is not None and old.device.type == "meta":
                    if id(old) not in made:
                        made[id(old)] = _filled(module, f"{name}.{key}", old, config, tracker)
                    tensors[key] = made[id(old)]


def _filled(module, name: str, old: torch.Tensor, config: RunConfig, tracker: StorageTracker) -> torch.Tensor:
    if isinstance(module, Linear4bit) and name.endswith("weight"):
        tracker.phase = "4-bit weights"
        full = torch.empty(module.out_features, module.in_features, dtype=module.compute_dtype)
        packed, state = quantize_4bit(full, compress_statistics=config.double_quant, quant_type=config.quant_type)
        # a Params4bit cannot hold a fake tensor: an ordinary parameter with its attributes can
        layer: Any = module
        weight: Any = torch.nn.Parameter(packed, requires_grad=False)
        weight.quant_state = layer.quant_state = state
        return weight
    if "lora_" in name:  # in float32, whatever the base computes in
        tracker.phase = "adapter"
        return torch.nn.Parameter(torch.empty(old.shape, dtype=torch.float32))
    tracker.phase = f"{8 * compute_dtype(config).itemsize}-bit weights"
    new = torch.empty(old.shape, dtype=old.dtype)
    return torch.nn.Parameter(new, requires_grad=False) if isinstance(old, torch.nn.Parameter) else new


def work_as_on_a_cpu(model: PeftModel, unpacked: bool, tracker: StorageTracker) -> None:
    """What a training does there: a layer and its branch are one function, 4 bits are `unpacked` once."""

    class Unpacked(Unpacked4bit):
        def dense(self, x):
            return self.unpacked

    trained: Any = model
    tracker.phase = "unpacked weights"
    for layer in trained.modules() if unpacked else ():
        if type(layer) is Linear4bit:
            layer.unpacked = torch.empty(layer.out_features, layer.in_features, dtype=layer.compute_dtype)
            layer.__class__ = Unpacked
    one_function_a_branch(trained)
