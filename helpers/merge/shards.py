"""Put the adapter into the base model's weights, one weight file at a time, in about the memory of one (`shard_bytes`).

A merge that was cut off resumes where it stopped; the result appears under its final name only when it is complete."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import split_state_dict_into_shards_factory

from helpers.files import folder_digest
from helpers.merge.delta import AdapterDelta, not_understood
from helpers.merge.folder import (
    METHODS,
    check_disk,
    finish_folder,
    full_disk_explained,
    merging_device,
    not_finite,
    roundings,
    shard_bytes,
)
from helpers.merge.in_memory import merge_in_memory
from helpers.merge.skeleton import Skeleton, empty_model, read_skeleton
from helpers.model.adapter import check_fit
from helpers.model.lora import check_adapter
from helpers.model.weights import WeightFiles
from helpers.settings import RunConfig
from helpers.show.progress import Progress
from helpers.show.words import _

if TYPE_CHECKING:
    import torch


def merge_shards(config: RunConfig, adapter: Path, out: Path, method: str) -> Path:
    """Write the merged 16-bit model to the folder `out`, with tokenizer, chat template and generation settings.

    An adapter of a kind not known here is merged by peft, with the whole model in memory. Raises ValueError for a
    method that does not apply, an adapter that does not fit or a weight that is not finite, OSError for too small a
    disk.
    """
    if method not in METHODS:
        sentence = _("method={method} is not known: use one of {known}.")
        raise ValueError(sentence.format(method=repr(method), known=", ".join(METHODS)))
    if method != "16bit-base" and not config.load_in_4bit:
        sentence = _("method={method} needs a 4-bit base: this run has load_in_4bit=False, use 16bit-base.")
        raise ValueError(sentence.format(method=repr(method)))
    check_adapter(adapter)
    check_fit(empty_model(config), adapter)
    skeleton = read_skeleton(config)
    if reason := not_understood(adapter) or skeleton.not_understood():
        sentence = _("peft merges this adapter itself, with the whole model in memory, because {reason}.")
        print(sentence.format(reason=reason))
        return merge_in_memory(config, adapter, out, method)
    delta = AdapterDelta(adapter)
    sources = skeleton.sources(delta)
    part = out.parent / f".{out.name}.part"
    _start_or_resume(part, config, adapter, method, skeleton)
    sizes = skeleton.sizes(sources)
    plan = plan_shards(sizes, shard_bytes(sum(sizes.values())))
    check_disk(part, sum(sizes[key] for key, file in plan.tensor_to_filename.items() if not (part / file).exists()))
    with full_disk_explained(part):
        _write_shards(part, plan, sources, skeleton, delta, roundings(config, method))
        skeleton.save_config(part, untied=len(sources) > len(set(sources.values())))
        finish_folder(config, adapter, part, out)
    return out


def plan_shards(sizes: dict[str, int], limit: int):
    """huggingface_hub's `StateDictSplit` of weights (name -> bytes): files of `limit` bytes at most, or one weight."""
    return split_state_dict_into_shards_factory(
        sizes, get_storage_size=int, filename_pattern="model{suffix}.safetensors", max_shard_size=limit
    )


def _write_shards(part: Path, plan, sources, skeleton: Skeleton, delta, roundings: tuple) -> None:
    from safetensors.torch import save_file

    base, device, (before, after) = WeightFiles(skeleton.files), merging_device(), roundings
    with Progress(total=len(plan.tensor_to_filename), desc=_("merge"), unit=_("weight"), mininterval=1) as bar:
        for file_name, shard in plan.filename_to_tensors.items():
            if (part / file_name).exists():  # done before the merge was cut off
                bar.update(len(shard))
                continue
            tensors = {}
            for key in shard:
                weight = base.read(sources[key]).to(device)
                packed = sources[key].removesuffix(".weight") in skeleton.quantised
                if packed and before:
                    weight = before(weight.to(skeleton.dtype))
                merged = delta.apply(key, weight)
                if packed and after:
                    merged = after(merged)
                tensors[key] = merged.to("cpu", skeleton.kind(key)).contiguous()
                if not tensors[key].isfinite().all():
                    raise not_finite(key, _culprit(key, base.read(sources[key]), delta))
                bar.update()
            save_file(tensors, part / f"{file_name}.part", metadata={"format": "pt"})
            os.replace(part / f"{file_name}.part", part / file_name)
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (part / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def _culprit(key: str, weight: torch.Tensor, delta: AdapterDelta) -> str:
    """Whose fault a merged weight is that is not finite, with the way out."""
    if not weight.isfinite().all():
        return _("the base model's own file holds such a number, download it again or use another base")
    if not delta.apply(key, weight.float() * 0).isfinite().all():
        return _("the adapter holds such a number, train again with a lower learning_rate")
    return _("the sum does not fit into the 16-bit format, set compute_dtype to bfloat16")


def _start_or_resume(part: Path, config: RunConfig, adapter: Path, method: str, skeleton: Skeleton) -> None:
    """Empty the folder `part`, unless it holds a half-done merge that is made of the same."""
    parts = {
        "method": method,
        "base": sorted({(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in skeleton.files.values()}),
        "adapter": folder_digest(adapter / "adapter_model.safetensors"),
        "adapter_config": folder_digest(adapter / "adapter_config.json"),
        "quantisation": [config.quant_type, config.double_quant, str(skeleton.dtype)],
    }
    file, fingerprint = part / "fingerprint.json", json.dumps(parts, indent=1)
    if file.exists() and file.read_text() == fingerprint:
        done = len(list(part.glob("*.safetensors")))
        print(_("An unfinished merge resumes: {done} weight file(s) are there already.").format(done=done))
        return
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    file.write_text(fingerprint)
