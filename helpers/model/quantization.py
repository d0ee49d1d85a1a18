"""The 4-bit config, the compute dtype, and the base model loaded with them."""

from __future__ import annotations

import os
import re

from helpers.config import RunConfig
from helpers.model.source import hub_revision, resolve_model


def compute_dtype(config: RunConfig):
    """The dtype matrix products run in: config.compute_dtype, or for "auto" bfloat16 where the device has it.

    GPUs before Ampere (compute capability 8.0) have no bfloat16 units and get float16; a CPU gets bfloat16.
    """
    import torch

    if config.compute_dtype != "auto":
        return getattr(torch, config.compute_dtype)
    if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] < 8:
        return torch.float16  # not run on a GPU yet
    return torch.bfloat16


def quantization_config(config: RunConfig):
    """The `BitsAndBytesConfig` of the run; None when config.load_in_4bit is False."""
    from transformers import BitsAndBytesConfig

    if not config.load_in_4bit:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.quant_type,
        bnb_4bit_use_double_quant=config.double_quant,
        bnb_4bit_compute_dtype=compute_dtype(config),
        bnb_4bit_quant_storage=storage_dtype(config),
    )


def under_fsdp() -> bool:
    """True in a process that `accelerate launch` started with an FSDP config: the model is spread over the GPUs."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def storage_dtype(config: RunConfig):
    """The dtype that the packed 4-bit weights are stored as: bytes; under FSDP the compute dtype, or they are not spread."""
    import torch

    return compute_dtype(config) if under_fsdp() else torch.uint8


def attention(config: RunConfig) -> str | None:
    """The attention kernel: config's own, or for "auto" FlashAttention 2 where installed and supported, else None.

    None leaves it to transformers: sdpa for the models that can use it, eager for the others (Gemma 2).
    """
    import torch
    from transformers.utils import is_flash_attn_2_available

    if config.attn_implementation != "auto":
        return config.attn_implementation
    # FlashAttention needs a GPU of compute capability 8.0; not run on a GPU yet
    usable = is_flash_attn_2_available() and torch.cuda.get_device_capability()[0] >= 8
    return "flash_attention_2" if usable else None


def liger() -> bool:
    """True where Liger's fused Triton layers can be used: a GPU is here and the package liger-kernel is installed."""
    import torch
    from transformers.utils import is_liger_kernel_available

    return torch.cuda.is_available() and is_liger_kernel_available()  # True: not run on a GPU yet


def device_map() -> dict | None:
    """The whole model on this process's device: its own GPU under `accelerate launch`, else GPU 0, else the CPU.

    None under FSDP, which spreads the model itself.
    """
    import torch

    if under_fsdp():
        return None
    return {"": int(os.environ.get("LOCAL_RANK", 0)) if torch.cuda.is_available() else "cpu"}


def keep_gradients(model):
    """Make the 4-bit layers of `model` keep their layout, so that gradients pass through them at any time; returns `model`.

    On a CPU with AVX512-BF16, bitsandbytes 0.50 repacks a 4-bit weight at its first evaluation. The repacked layer
    answers as before but passes no gradient back: after one evaluation a training goes on, silently, without learning.
    """
    from bitsandbytes.nn import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False
    return model


def release_files(model):
    """Give a 4-bit model on a CPU 16-bit weights of its own (norms, embeddings), so that its files leave the memory.

    They are views into the mapped files, and a single view keeps the whole file there. Returns `model`.
    """
    if getattr(model, "is_loaded_in_4bit", False) and model.device.type == "cpu":
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.clone()
    return model


def load_base_model(
    config: RunConfig, four_bit: bool | None = None, source: str | None = None, device: str | None = None
):
    """The base model of the run (or another folder `source`) as a real `AutoModelForCausalLM`.

    `four_bit` None follows the config; False loads 16-bit weights, as merged models are. `device` None: see `device_map`.
    Raises ValueError for a model that is already quantised, or whose files lack a weight: it would be random numbers.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    four_bit = config.load_in_4bit if four_bit is None else four_bit
    name, revision = source or resolve_model(config.model_id), "main" if source else hub_revision(config.model_revision)
    common = {"revision": revision, "trust_remote_code": config.trust_remote_code}
    refuse_quantised(AutoConfig.from_pretrained(name, **common).to_dict(), source or config.model_id)
    # `quantization_config=None` is not the same as none: it would erase the model's own
    packed = {"quantization_config": quantization_config(config)} if four_bit else {}
    model, found = AutoModelForCausalLM.from_pretrained(
        name,
        **common,
        **packed,
        dtype=compute_dtype(config),
        device_map={"": device} if device else device_map(),
        attn_implementation=attention(config),
        use_safetensors=True,
        output_loading_info=True,
    )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"The weight files of {source or config.model_id} lack {missing[0]} ({len(missing)} weights in all), so it would "
            "be filled with random numbers: download the model again, or use its 16-bit original."
        )
    return keep_gradients(release_files(model))


def own_quantisation(numbers: dict) -> str:
    """How a model's files are quantised already, by its config.json (`numbers`), as bitsandbytes or gptq; "" for 16 or 32 bits."""
    for part in (numbers, numbers.get("text_config") or {}):
        for key in ("quantization_config", "compression_config"):
            if settings := part.get(key):
                return str(settings.get("quant_method") or "bitsandbytes")  # as transformers reads it
    return ""


def refuse_quantised(numbers: dict, name: str) -> None:
    """Raises ValueError for a base model whose weights are packed in fewer than 16 bits, with a way out."""
    kind = own_quantisation(numbers)
    if not kind:
        return
    plain = re.sub(
        r"[-_.](unsloth[-_]|quantized[.])?(bnb[-_]4bit|4bit|8bit|gptq|awq|fp8|int[48]|w\d+a\d+|mxfp4)\b.*",
        "",
        name,
        flags=re.I,
    )
    original = (
        f"its 16-bit original, perhaps {plain!r}" if plain != name else "its 16-bit original (often named ...-BF16)"
    )
    raise ValueError(
        f"model_id={name!r} is already quantised ({kind}), so it has no 16-bit weights to train on and to merge into: use "
        f"{original}. QLoRA makes its own 4 bits of it."
    )


def through_4bit(weight, config: RunConfig):
    """`weight` as the 4-bit model sees it: quantised as on loading, and written out again in its own dtype."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(weight, compress_statistics=config.double_quant, quant_type=config.quant_type)
    return dequantize_4bit(packed, state)
