"""The 4-bit config, the compute dtype, and the base model loaded with them."""

from __future__ import annotations

import os

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
        return torch.float16
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
    )


def attention(config: RunConfig) -> str | None:
    """The attention kernel: config's own, or for "auto" FlashAttention 2 where installed and supported, else None.

    None leaves it to transformers: sdpa for the models that can use it, eager for the others (Gemma 2).
    """
    import torch
    from transformers.utils import is_flash_attn_2_available

    if config.attn_implementation != "auto":
        return config.attn_implementation
    # FlashAttention needs a GPU of compute capability 8.0, and a model whose code can call it
    usable = (
        is_flash_attn_2_available() and torch.cuda.get_device_capability()[0] >= 8 and knows_flash_attention(config)
    )
    return "flash_attention_2" if usable else None


def knows_flash_attention(config: RunConfig) -> bool:
    """True when the code of the run's architecture can call FlashAttention (BLOOM's cannot; loading it so would fail)."""
    from transformers import AutoConfig, AutoModelForCausalLM

    where = {"revision": hub_revision(config.model_revision), "trust_remote_code": config.trust_remote_code}
    settings = AutoConfig.from_pretrained(resolve_model(config.model_id), **where)
    kind = AutoModelForCausalLM._model_mapping.get(type(settings), None)
    return getattr(kind, "_supports_flash_attn", False)


def device_map(config: RunConfig) -> dict | str:
    """Where the model goes: this process's own GPU under `accelerate launch`, else GPU 0, else the CPU.

    With `config.split_model` "auto": its layers over all GPUs that this one process sees, for a model larger than one.
    """
    import torch

    if config.split_model and torch.cuda.device_count() > 1:
        return "auto"
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


def load_base_model(config: RunConfig, four_bit: bool | None = None, source: str | None = None):
    """The base model of the run (or another folder `source`) as a real `AutoModelForCausalLM`.

    `four_bit` None follows the config; False loads 16-bit weights, as merged models are.
    """
    from transformers import AutoModelForCausalLM

    four_bit = config.load_in_4bit if four_bit is None else four_bit
    model = AutoModelForCausalLM.from_pretrained(
        source or resolve_model(config.model_id),
        revision="main" if source else hub_revision(config.model_revision),
        quantization_config=quantization_config(config) if four_bit else None,
        dtype=compute_dtype(config),
        device_map=device_map(config),
        attn_implementation=attention(config),
        trust_remote_code=config.trust_remote_code,
        use_safetensors=True,
    )
    return keep_gradients(release_files(model))


def through_4bit(weight, config: RunConfig):
    """`weight` as the 4-bit model sees it: quantised as on loading, and written out again in its own dtype."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(weight, compress_statistics=config.double_quant, quant_type=config.quant_type)
    return dequantize_4bit(packed, state)
