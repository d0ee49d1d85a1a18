"""What the work is done on: GPU or CPU, its number formats and attention kernel, and the processes that share it."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING

from helpers.model.source import ModelSource
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    import torch

SHORT = 512  # tokens: eager attention keeps rows x heads x length^2 numbers for the backward pass


def use_cards(config: RunConfig) -> str:
    """Let this process see one GPU, unless it is one of several or `config.split_model` wants all; in words.

    Else the Trainer copies a 4-bit model to each, and TRL refuses. CUDA reads CUDA_VISIBLE_DEVICES once: call it first.
    """
    import torch

    count = torch.cuda.device_count()
    if count < 2 or "WORLD_SIZE" in os.environ:
        return _("one GPU") if count else _("the CPU")
    if config.split_model:
        return _("all {count} GPUs, each with a part of the layers (split_model)").format(count=count)
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.environ["CUDA_VISIBLE_DEVICES"] = first
    sentence = _("GPU {first}, the first of {count}; `start(run, config, processes={count})` in 04 trains on all")
    return sentence.format(first=first, count=count)


def sharded() -> bool:
    """True in a process that `accelerate launch --use_fsdp` started: each one holds a part of every layer."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def first_decides(value):
    """`value` as the first process has it, in every process; they must all ask, at the same place."""
    from torch import distributed

    if not distributed.is_initialized():
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def lowest(number: float) -> float:
    """The lowest `number` of all processes; they must all ask, at the same place."""
    from torch import distributed

    if not distributed.is_initialized():
        return number
    numbers = [number] * distributed.get_world_size()
    distributed.all_gather_object(numbers, number)
    return min(numbers)


def device_map(config: RunConfig) -> dict | str:
    """Where the model goes: this process's own GPU, else the CPU; "auto" with `split_model`: its layers over all GPUs.

    Under FSDP the CPU: from there each process brings its own part of every layer to its GPU.
    """
    import torch

    if sharded():
        return {"": "cpu"}
    if config.split_model and torch.cuda.device_count() > 1:
        return "auto"
    return {"": int(os.environ.get("LOCAL_RANK", 0)) if torch.cuda.is_available() else "cpu"}


def compute_dtype(config: RunConfig) -> torch.dtype:
    """The dtype of matrix products: config.compute_dtype, or for "auto" bfloat16 where the device is quick at it.

    Else float16 on a GPU (before Ampere), and float32 on a CPU, five times as fast there (`proofs/bench_products.py`).
    """
    import torch

    if config.compute_dtype != "auto":
        return getattr(torch, config.compute_dtype)
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
    return torch.bfloat16 if _quick_at_bfloat16() else torch.float32


@cache
def _quick_at_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16, and not much slower than in float32: on one Xeon it took twice the time.

    bfloat16 needs half of the memory, so it may be slower by a quarter. 0.2 CPU seconds, once per process.
    """
    import torch
    from bitsandbytes.functional import has_avx512bf16

    return has_avx512bf16() and _seconds(torch.bfloat16) < 1.25 * _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """CPU time of one product of the demo's size in `dtype`: the least of five, so a busy machine does not count."""
    import torch

    one, two = torch.ones(512, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
    taken = []
    for _try in range(5):
        begin = time.process_time()
        one.mm(two)
        taken.append(time.process_time() - begin)
    return min(taken)


def weight_dtype(config: RunConfig) -> torch.dtype:
    """The dtype of merged weights: that of the products, but 16 bits where a CPU chose float32 by itself."""
    import torch

    dtype = compute_dtype(config)
    return torch.bfloat16 if config.compute_dtype == "auto" and dtype == torch.float32 else dtype


def number_formats(config: RunConfig) -> dict[str, bool]:
    """The arguments of a training that follow from `compute_dtype` and the device: bf16, fp16, use_cpu."""
    import torch

    dtype, gpu = compute_dtype(config), torch.cuda.is_available()
    return {"bf16": dtype == torch.bfloat16, "fp16": dtype == torch.float16, "use_cpu": not gpu}


def is_eager(config: RunConfig, gpu: bool) -> bool:
    """Whether attention is computed in plain products: config's own choice, or "auto" on a CPU up to `SHORT` tokens.

    There sdpa's backward pass is slow. The plan asks this too: plain products keep numbers for every pair of tokens.
    """
    short = config.attn_implementation == "auto" and not gpu and config.max_length <= SHORT
    return short or config.attn_implementation == "eager"


def attention(config: RunConfig) -> str | None:
    """The attention kernel: config's own, or for "auto" the fastest one for the device and the length of the rows.

    FlashAttention 2 from compute capability 8.0 on, where it is installed and the model's code can call it; on a CPU
    see `is_eager`. None leaves it to transformers.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_flash_attn_2_available

    gpu = torch.cuda.is_available()
    if is_eager(config, gpu):
        return "eager"
    if config.attn_implementation != "auto":
        return config.attn_implementation
    if not gpu or not is_flash_attn_2_available() or torch.cuda.get_device_capability()[0] < 8:
        return None
    kind = AutoModelForCausalLM._model_mapping.get(type(ModelSource.of(config).settings()), None)
    return "flash_attention_2" if getattr(kind, "_supports_flash_attn", False) else None  # BLOOM's code cannot call it
