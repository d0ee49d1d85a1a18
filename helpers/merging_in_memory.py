"""peft's own merge with the whole 16-bit model in memory: for the adapters that cannot be merged weight by weight."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.adapters import load_adapter
from helpers.config import RunConfig
from helpers.quantization import compute_dtype, load_base_model


def merge_in_memory(config: RunConfig, adapter: Path, out: Path, method: str) -> Path:
    """As `merging.merge_shards`, by `merge_and_unload` on a 16-bit model.

    Raises ValueError for an adapter that peft cannot merge (prompt tuning, for example).
    """
    from helpers.merging import finish_folder

    model = load_base_model(config, four_bit=method == "dequantised-base")
    if method == "dequantised-base":
        model = model.dequantize(dtype=compute_dtype(config))
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
    model = load_adapter(model, adapter)
    if not hasattr(model.base_model, "merge_and_unload"):
        raise ValueError(f"An adapter of kind {model.peft_type} has no merged form: push the adapter instead.")
    part = out.parent / f".{out.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    model.merge_and_unload(progressbar=True, safe_merge=True).save_pretrained(
        part, max_shard_size=int(config.merge_shard_gb * 1e9)
    )
    finish_folder(config, adapter, part, out)
    return out
