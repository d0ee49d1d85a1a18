"""One QLoRA step on tensors without numbers: the model as it is trained, its loss, its optimizer."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from types import SimpleNamespace
from unittest import mock

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from helpers.model.anatomy import layer_list, name_experts, not_packed, on_meta, unreachable
from helpers.plan.life import StorageLife
from helpers.settings import RunConfig


def skeleton(config: RunConfig, model_config: dict, places: tuple[int, ...] = ()):
    """The model as the training has it (4-bit layers, LoRA, checkpointing, TRL's loss head), all on "meta": no numbers.

    `places`: the layers that are left, by their place in the whole model; () = all.
    """
    from peft import get_peft_model
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from trl.trainer.utils import add_fused_lm_head

    from helpers.model.device import compute_dtype
    from helpers.model.lora import lora_config
    from helpers.model.quantise import keep_gradients, quantization_config

    # None: sdpa, or eager for a model without it; FlashAttention needs as much as sdpa
    attention = "eager" if config.attn_implementation == "eager" else None
    model = on_meta(model_config, dtype=compute_dtype(config), attn_implementation=attention)
    if reason := unreachable(model):
        raise NotImplementedError(reason)
    name_experts(model)
    if places:
        keep_layers(model, places)
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
    add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy", "is_top1"))
    return model.train()


def keep_layers(model, places: tuple[int, ...]) -> None:
    """Leave only the layers at `places` in `model`, and what its config says about each of them."""
    layers, settings = layer_list(model), model.config.get_text_config(decoder=True)
    path = next(name for name, module in model.named_modules() if module is layers)
    model.set_submodule(path, torch.nn.ModuleList(layers[place] for place in places))
    for name, value in vars(settings).items():
        if isinstance(value, (list, tuple)) and len(value) == len(layers):
            setattr(settings, name, [value[place] for place in places])
    settings.num_hidden_layers = len(places)


def fill(model, config: RunConfig, life: StorageLife) -> None:
    """Give every tensor of the skeleton a storage (a fake one under FakeTensorMode): 4-bit, 16-bit, adapter; tied ones share."""
    made = {}
    for name, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for key, old in tensors.items():
                if old is None or old.device.type != "meta":
                    continue
                if id(old) not in made:
                    made[id(old)] = _filled(module, f"{name}.{key}", old, config, life)
                tensors[key] = made[id(old)]


def _filled(module, name: str, old: torch.Tensor, config: RunConfig, life: StorageLife) -> torch.Tensor:
    import bitsandbytes as bnb

    from helpers.model.device import compute_dtype

    if isinstance(module, bnb.nn.Linear4bit) and name.endswith("weight"):
        life.phase = "4-bit weights"
        full = torch.empty(module.out_features, module.in_features, dtype=module.compute_dtype)
        packed, state = bnb.functional.quantize_4bit(
            full, compress_statistics=config.double_quant, quant_type=config.quant_type
        )
        # a Params4bit cannot hold a fake tensor: an ordinary parameter with its attributes can
        weight = torch.nn.Parameter(packed, requires_grad=False)
        weight.quant_state = module.quant_state = state
        return weight
    adapter = "lora_" in name
    dtype = old.dtype
    life.phase = "adapter" if adapter else f"{8 * compute_dtype(config).itemsize}-bit weights"
    if adapter:  # bfloat16 in a 4-bit model that computes in it, else float32 (see `LeanTrainer`)
        short = config.load_in_4bit and compute_dtype(config) == torch.bfloat16
        dtype = torch.bfloat16 if short else torch.float32
    new = torch.empty(old.shape, dtype=dtype)
    return torch.nn.Parameter(new, requires_grad=adapter) if isinstance(old, torch.nn.Parameter) else new


def tiled_loss(model, inputs: dict) -> torch.Tensor:
    """The loss of `SFTTrainer`: TRL's head works in tiles, here on every position; with experts, how evenly they are used."""
    from transformers.models.mixtral import modeling_mixtral as mixtral

    balance, padding = mixtral.load_balancing_loss_func, torch.ones_like(inputs["input_ids"])

    def balanced(logits, experts, used, mask=None):  # the mask of the rows, not attention's
        return balance(logits, experts, used, None if mask is None else padding)

    with mock.patch.object(mixtral, "load_balancing_loss_func", balanced):
        output = model(**inputs, labels=inputs["input_ids"], fused_lm_head=True)
    return output.loss


def lean_loss(model, inputs: dict, labelled: float) -> torch.Tensor:
    """The loss of `LeanTrainer` on a CPU: the head works on the labelled positions only, all of them at once."""
    from helpers.train.trainer import SumOfLosses

    count = max(int(inputs["input_ids"].numel() * labelled), 1)
    head = model.get_output_embeddings()
    with head.register_forward_pre_hook(lambda module, args: (args[0].flatten(0, 1)[:count].clone(),)):
        logits = model(**inputs, use_cache=False).logits
    targets = torch.ones(count, dtype=torch.long)
    return SumOfLosses.apply(logits, targets) / count


def make_optimizer(config: RunConfig, parameters: list, gpu: bool):
    """The optimizer that `Trainer` would make for config.optim; paged ones unpaged, since their size is the same."""
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(output_dir=folder, optim=config.optim, use_cpu=True)
        kind, keywords = Trainer.get_optimizer_cls_and_kwargs(args)
    if kind is torch.optim.AdamW:
        keywords = {**keywords, "foreach": gpu, "fused": False}
    keywords.pop("is_paged", None)
    with unset_fake_temporarily():  # the code tables of an 8-bit optimizer need real numbers
        return kind(parameters, **keywords)


@contextlib.contextmanager
def gpu_kernels():
    """Let the step use as much memory as on a GPU: fused dropout, and TRL's Triton kernels, which work in place."""
    import trl.kernels.chunked_logprob as loss
    import trl.trainer.utils  # noqa: F401  takes its own copy of the names below before they change

    def dropout(input, p=0.5, training=True, inplace=False):
        return torch.native_dropout(input, p, training)[0] if training and p else input

    class InPlace:
        def __getitem__(self, grid):
            return lambda *args, **kwargs: None

    with (
        mock.patch.object(torch.nn.functional, "dropout", dropout),
        mock.patch.object(loss, "_use_triton", lambda device: True),
        mock.patch.object(loss, "_forward_kernel", InPlace()),
        mock.patch.object(loss, "_backward_kernel", InPlace()),
        mock.patch.object(loss, "_addmm_fp32", lambda total, a, b: None),
        mock.patch.object(loss, "triton", SimpleNamespace(cdiv=lambda a, b: -(-a // b)), create=True),
    ):
        yield


@contextlib.contextmanager
def quiet():
    """Libraries warn about a training without numbers; here that is meant."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)  # an error is raised as well
        try:
            yield
        finally:
            logging.disable(before)


def prime_caches() -> None:
    """bitsandbytes keeps its code tables for ever: make them of real numbers before any fake tensor is about."""
    import bitsandbytes as bnb

    bnb.functional.quantize_4bit(torch.zeros(64, 64), compress_statistics=True, quant_type="nf4")
