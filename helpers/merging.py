"""Put the adapter into the base model's weights, one weight file at a time.

Memory: about one shard (config.merge_shard_gb), whatever the model's size. A merge that was cut off goes on where it
stopped; the result appears under its final name only when it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from helpers.adapter_delta import AdapterDelta, not_understood
from helpers.adapters import check_adapter
from helpers.config import RunConfig
from helpers.report import human_bytes
from helpers.runs import RunDir
from helpers.skeleton import Skeleton, read_skeleton
from helpers.weights import WeightFiles

METHODS = {
    "16bit-base": "the fresh 16-bit base + the adapter",
    "dequantised-base": "the 4-bit base, written out in 16 bits, + the adapter",
}


def methods_to_try(config: RunConfig) -> list[str]:
    """The merges this run measures: the chosen one, or for "auto" every one that applies."""
    if config.merge_method != "auto":
        return [config.merge_method]
    return list(METHODS) if config.load_in_4bit else ["16bit-base"]


def candidate(run: RunDir, method: str, done: bool = False) -> Path:
    """Where the merge by `method` is written until one is chosen; with `done`, where it is now, chosen or not.

    Raises FileNotFoundError when that merge is not there.
    """
    folder = run.merged.with_name(f"merged.{method}")
    if not done or folder.exists():
        return folder
    receipt = json.loads(run.merge_receipt.read_text(encoding="utf-8")) if run.merge_receipt.exists() else {}
    if receipt.get("chosen") == method and run.merged.exists():
        return run.merged
    raise FileNotFoundError(
        f"The merge {method!r} is not in {run.path}: run the merge cell of 05_merge_and_push.ipynb."
    )


def keep_merge(run: RunDir, method: str) -> None:
    """Make the merge by `method` the run's merged/ and delete the others."""
    chosen = candidate(run, method, done=True)
    if chosen != run.merged:
        shutil.rmtree(run.merged, ignore_errors=True)
        os.replace(chosen, run.merged)
    for other in METHODS:
        shutil.rmtree(candidate(run, other), ignore_errors=True)


def merge_shards(config: RunConfig, adapter: Path, out: Path, method: str) -> Path:
    """Write the merged 16-bit model to the folder `out`, with tokenizer, chat template and generation settings.

    Raises ValueError for a method that does not apply or an adapter that does not fit the base, OSError when the disk
    is too small. An adapter of a kind not known here is merged by peft, with the whole model in memory.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known: use one of {', '.join(METHODS)}.")
    if method == "dequantised-base" and not config.load_in_4bit:
        raise ValueError(
            "method='dequantised-base' needs a 4-bit base: this run has load_in_4bit=False, use 16bit-base."
        )
    check_adapter(adapter)
    skeleton, reason = read_skeleton(config), not_understood(adapter)
    if reason := reason or skeleton.not_understood():
        from helpers.merging_in_memory import merge_in_memory

        print(f"peft merges this adapter itself, with the whole model in memory, because {reason}.")
        return merge_in_memory(config, adapter, out, method)
    delta = AdapterDelta(adapter)
    skeleton.check_fit(delta)
    sources = skeleton.sources(delta)
    part = out.parent / f".{out.name}.part"
    _start_or_resume(part, _fingerprint(config, adapter, method, skeleton))
    shards = plan_shards(skeleton.sizes(sources), int(config.merge_shard_gb * 1e9))
    _check_disk(part, shards)
    _write_shards(part, shards, sources, skeleton, delta, config if method == "dequantised-base" else None)
    skeleton.save_config(part, untied=len(sources) > len(set(sources.values())))
    finish_folder(config, adapter, part, out)
    return out


def plan_shards(sizes: dict[str, int], limit: int) -> list[dict[str, int]]:
    """Weights (name -> bytes) in order, cut into files of at most `limit` bytes; a larger weight gets its own file."""
    shards: list[dict[str, int]] = [{}]
    for name, size in sizes.items():
        if shards[-1] and sum(shards[-1].values()) + size > limit:
            shards.append({})
        shards[-1][name] = size
    return shards


def shard_names(shards: list) -> list[str]:
    """File names as transformers reads them."""
    count = len(shards)
    return (
        [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
        if count > 1
        else ["model.safetensors"]
    )


def finish_folder(config: RunConfig, adapter: Path, part: Path, out: Path) -> None:
    """Add the tokenizer that the adapter was trained with and generation settings that stop; give `part` its name."""
    from transformers import GenerationConfig

    from helpers.chat import load_tokenizer, stop_ids

    tokenizer = load_tokenizer(config, source=str(adapter))
    tokenizer.save_pretrained(part)
    stops = stop_ids(tokenizer)
    settings = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id
    )
    settings.save_pretrained(part)
    (part / "fingerprint.json").unlink(missing_ok=True)
    if out.exists():
        shutil.rmtree(out)
    os.replace(part, out)


def _write_shards(part: Path, shards, sources, skeleton: Skeleton, delta, requantise: RunConfig | None) -> None:
    import torch
    from safetensors.torch import save_file
    from tqdm import tqdm

    device = "cuda" if torch.cuda.is_available() else "cpu"  # cuda: not run on a GPU yet
    base, names, weight_map = WeightFiles(skeleton.files), shard_names(shards), {}
    with tqdm(total=sum(map(len, shards)), desc="merge", unit="weight", delay=2, mininterval=1) as bar:
        for file_name, shard in zip(names, shards, strict=True):
            weight_map.update(dict.fromkeys(shard, file_name))
            if not (part / file_name).exists():  # else: done before the merge was cut off
                tensors = {}
                for key in shard:
                    weight = base.read(sources[key]).to(device, skeleton.dtype)
                    if requantise and sources[key].removesuffix(".weight") in skeleton.quantised:
                        weight = through_4bit(weight, requantise)
                    tensors[key] = delta.apply(key, weight).to("cpu", skeleton.dtype).contiguous()
                    bar.update()
                save_file(tensors, part / f"{file_name}.part", metadata={"format": "pt"})
                os.replace(part / f"{file_name}.part", part / file_name)
            else:
                bar.update(len(shard))
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(sum(s.values()) for s in shards)}, "weight_map": weight_map}
        (part / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def through_4bit(weight, config: RunConfig):
    """`weight` as the 4-bit model sees it: quantised as on loading, and written out again in its own dtype."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(weight, compress_statistics=config.double_quant, quant_type=config.quant_type)
    return dequantize_4bit(packed, state)


def _fingerprint(config: RunConfig, adapter: Path, method: str, skeleton: Skeleton) -> str:
    """What the merge is made of, as JSON: a half-done merge is only continued when this is the same."""
    from helpers.models import folder_digest

    base = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in skeleton.files.values()]
    parts = {
        "method": method,
        "base": sorted(set(base)),
        "adapter": folder_digest(adapter / "adapter_model.safetensors"),
        "adapter_config": folder_digest(adapter / "adapter_config.json"),
        "quantisation": [config.quant_type, config.double_quant, str(skeleton.dtype)],
        "shard_gb": config.merge_shard_gb,
    }
    return json.dumps(parts, indent=1)


def _start_or_resume(part: Path, fingerprint: str) -> None:
    file = part / "fingerprint.json"
    if file.exists() and file.read_text() == fingerprint:
        done = len(list(part.glob("*.safetensors")))
        print(f"An unfinished merge goes on: {done} weight file(s) are there already.")
        return
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    file.write_text(fingerprint)


def _check_disk(part: Path, shards: list[dict[str, int]]) -> None:
    names = shard_names(shards)
    missing = sum(sum(s.values()) for name, s in zip(names, shards, strict=True) if not (part / name).exists())
    free = shutil.disk_usage(part).free
    if missing * 1.02 > free:
        raise OSError(
            f"The merge writes {human_bytes(missing)} and {part.parent} has {human_bytes(free)} free: free some space, "
            "or move the runs with QLORA_RUNS_DIR."
        )
