"""peft's own merge with the whole 16-bit model in memory: for the adapters that cannot be merged weight by weight."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.config import RunConfig
from helpers.merge.folder import finish_folder
from helpers.merge.skeleton import read_skeleton
from helpers.model.lora import load_adapter
from helpers.model.quantization import load_base_model, through_4bit, weight_dtype


def merge_in_memory(config: RunConfig, adapter: Path, out: Path, method: str) -> Path:
    """As `shards.merge_shards`, by `merge_and_unload` on a 16-bit model.

    Raises ValueError for an adapter that peft cannot merge (prompt tuning, for example); nothing is written then.
    """
    model = load_base_model(config, four_bit=False)
    if method == "dequantised-base":
        skeleton = read_skeleton(config)
        for name in skeleton.quantised:
            weight, turned = model.get_submodule(name).weight, skeleton.kinds[name] == "Conv1D"
            rows = weight.data.T.contiguous() if turned else weight.data  # 4-bit layers keep it as (out, in)
            rows = through_4bit(rows, config)
            weight.data = rows.T.contiguous() if turned else rows
    model = load_adapter(model, adapter)
    if not hasattr(model.base_model, "merge_and_unload"):
        raise ValueError(f"An adapter of kind {model.peft_type} has no merged form: push the adapter instead.")
    part = out.parent / f".{out.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        merged = model.merge_and_unload(progressbar=True, safe_merge=True)
    except RuntimeError as error:
        raise ValueError(f"peft cannot merge this adapter ({error}): push the adapter instead.") from None
    merged.to(weight_dtype(config)).save_pretrained(part, max_shard_size=int(config.merge_shard_gb * 1e9))
    finish_folder(config, adapter, part, out)
    return out
