"""The 4-bit config, the compute dtype, and the base model loaded with them."""

from __future__ import annotations

import os
import re

from helpers.model.room import file_bytes, placement
from helpers.model.source import hub_revision, resolve_model
from helpers.settings import RunConfig

# what lies in the files beside packed weights: FP8, GPTQ, AWQ, MXFP4, compressed-tensors, bitsandbytes
SCALES = re.compile(
    r"\.(weight_(scale\w*|packed|zero_point)|input_scale|\w*_scales|\w*_blocks|scales|qweight|qzeros|absmax|\w*quant_map|SCB)$"
)


def compute_dtype(config: RunConfig):
    """The dtype matrix products run in: config.compute_dtype, or for "auto" bfloat16 where the device has it.

    GPUs before Ampere (compute capability 8.0) have no bfloat16 units and get float16. A CPU without bfloat16
    instructions gets float32: its products in bfloat16 take about nine times as long (`proofs/bench_products.py`).
    """
    import torch
    from bitsandbytes.functional import has_avx512bf16

    if config.compute_dtype != "auto":
        return getattr(torch, config.compute_dtype)
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
    return torch.bfloat16 if has_avx512bf16() else torch.float32


def number_formats(config: RunConfig) -> dict:
    """The arguments of a training that follow from `compute_dtype` and the device: bf16, fp16, use_cpu."""
    import torch

    dtype, gpu = compute_dtype(config), torch.cuda.is_available()
    return {"bf16": dtype == torch.bfloat16, "fp16": dtype == torch.float16, "use_cpu": not gpu}


def weight_dtype(config: RunConfig):
    """The dtype that merged weights are written in: that of the products, but 16 bits where a CPU chose float32 by itself."""
    import torch

    dtype = compute_dtype(config)
    return torch.bfloat16 if config.compute_dtype == "auto" and dtype == torch.float32 else dtype


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
        bnb_4bit_quant_storage=quant_storage(config),
    )


def quant_storage(config: RunConfig):
    """The dtype that the packed weights lie in: bytes; under FSDP that of the products, since it shards floats only.

    Source: bitsandbytes' page FSDP-QLoRA. The bits are the same, two numbers a byte.
    """
    import torch

    return compute_dtype(config) if sharded() else torch.uint8


def sharded() -> bool:
    """True in a process that `accelerate launch --use_fsdp` started: each one holds a part of every layer."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


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
    Under FSDP the CPU: from there each process brings its own part of every layer to its GPU.
    """
    import torch

    if sharded():
        return {"": "cpu"}
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


def load_base_model(
    config: RunConfig, four_bit: bool | None = None, source: str | None = None, device: str | None = None
):
    """The base model of the run (or another folder `source`) as a real `AutoModelForCausalLM`.

    `four_bit` None follows the config; False loads 16-bit weights, as merged models are. `device` None: see `device_map`.
    Raises ValueError for a model that is already quantised, or whose files lack a weight: it would be random numbers.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from helpers.model.unpacking import unpack_once

    four_bit = config.load_in_4bit if four_bit is None else four_bit
    name, revision = source or resolve_model(config.model_id), "main" if source else hub_revision(config.model_revision)
    common = {"revision": revision, "trust_remote_code": config.trust_remote_code}
    refuse_quantised(AutoConfig.from_pretrained(name, **common).to_dict(), source or config.model_id)
    # `quantization_config=None` is not the same as none: it would erase the model's own
    packed = {"quantization_config": quantization_config(config)} if four_bit else {}
    place = {"": device} if device else device_map(config)
    if source and not four_bit and torch.cuda.is_available():  # a merged model may be larger than the card
        place = placement(file_bytes(source), torch.cuda.mem_get_info()[0])
    model, found = AutoModelForCausalLM.from_pretrained(
        name,
        **common,
        **packed,
        dtype=compute_dtype(config),
        device_map=place,
        attn_implementation=attention(config),
        use_safetensors=True,
        output_loading_info=True,
    )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"The weight files of {source or config.model_id} lack {missing[0]} ({len(missing)} weights in all), so it would "
            "be filled with random numbers: download the model again, or use its 16-bit original."
        )
    if scales := sorted(key for key in found["unexpected_keys"] if SCALES.search(key)):
        raise ValueError(
            f"The weight files of {source or config.model_id} hold {scales[0]} ({len(scales)} such numbers), of which config.json "
            "says nothing: the weights are quantised, and would be read without their scales. Use the 16-bit original."
        )
    return unpack_once(keep_gradients(release_files(model)))


def own_quantisation(numbers: dict) -> str:
    """How a model's files are quantised already, by its config.json (`numbers`), as bitsandbytes or gptq; "" for 16 or 32 bits."""
    for key, value in numbers.items():
        if key in ("quantization_config", "compression_config") and value:
            return str(value.get("quant_method") or "bitsandbytes")  # as transformers reads it
        if isinstance(value, dict) and (found := own_quantisation(value)):
            return found
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
    """`weight` as the 4-bit model sees it: quantised as on loading, and written out in the dtype that model computes in."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    weight = weight.to(compute_dtype(config))
    packed, state = quantize_4bit(weight, compress_statistics=config.double_quant, quant_type=config.quant_type)
    return dequantize_4bit(packed, state)
