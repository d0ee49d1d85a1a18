"""peft's own merge with the whole 16-bit model in memory: for the adapters that cannot be merged weight by weight."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from helpers.merge.folder import (
    check_disk,
    finish_folder,
    full_disk_explained,
    merging_device,
    not_finite,
    roundings,
    shard_bytes,
)
from helpers.merge.skeleton import Skeleton, read_skeleton
from helpers.model.load import load_base_model
from helpers.model.lora import load_adapter
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

MOVED = 0.2  # of the logits' spread: rounding to 16 bits moves them by some hundredths, a wrong merge by whole spreads


def merge_in_memory(config: RunConfig, adapter: Path, out: Path, method: str) -> Path:
    """As `shards.merge_shards`, by `merge_and_unload` on a 16-bit model, which stays in the machine's own memory.

    Raises ValueError for an adapter that peft cannot merge, prompt tuning say, or a weight that is not finite."""
    from transformers import GenerationConfig

    model, skeleton = cast(Any, load_base_model(config, four_bit=False, device="cpu")), read_skeleton(config)
    before, after = roundings(config, method)
    if before:
        _write_out(model, skeleton, before)
    model.merge_aware = False  # the plain sum is wanted
    model = load_adapter(model, adapter, device="cpu")
    part, size = out.parent / f".{out.name}.part", sum(weight.nbytes for weight in model.parameters())
    check_disk(part, size)
    unmerged, merged = _logits(model), _unloaded(model)
    if skeleton.tied:
        _tie_again(merged)
    for name, weight in merged.state_dict(keep_vars=True).items():
        weight.data = weight.data.to(skeleton.kind(name))  # on a CPU it may be in float32: added there, rounded once
        if not weight.isfinite().all():
            raise not_finite(name, _("adapter or base hold such numbers, or they do not fit into 16 bits"))
    moved = ((_logits(merged) - unmerged).square().mean().sqrt() / unmerged.std()).item()
    if not moved < MOVED:
        sentence = _(
            "peft's merge changes what this model says (its logits move by {moved} of their spread): push the adapter "
            "instead."
        )
        raise ValueError(sentence.format(moved=f"{moved:.2g}"))
    if after:
        _write_out(merged, skeleton, after)
    merged.generation_config = GenerationConfig()  # the base's may be one that transformers refuses to save
    shutil.rmtree(part, ignore_errors=True)
    try:
        with full_disk_explained(part):
            merged.save_pretrained(part, max_shard_size=shard_bytes(size))
            finish_folder(config, adapter, part, out, skeleton.own_code)
    finally:  # when all went well it has another name now
        shutil.rmtree(part, ignore_errors=True)
    return out


def _write_out(model: Any, skeleton: Skeleton, rounding: Callable) -> None:
    """The weights that 4-bit loading quantises become, in place, what `rounding` makes of them."""
    for name in skeleton.quantised:
        layer = model.get_submodule(name)
        weight, turned = layer.weight.data, type(layer).__name__ == "Conv1D"  # which keeps it as (in, out)
        rows = weight.T.contiguous() if turned else weight
        rows = rounding(rows.to(merging_device())).to("cpu", weight.dtype)
        layer.weight.data = rows.T.contiguous() if turned else rows


def _unloaded(model: Any) -> Any:
    """`model` with its adapter in its weights, by peft; ValueError where that cannot be."""
    if not hasattr(model.base_model, "merge_and_unload"):
        sentence = _("An adapter of kind {kind} has no merged form: push the adapter instead.")
        raise ValueError(sentence.format(kind=model.peft_type.value))
    _give_each_its_own(model)
    try:
        return model.merge_and_unload(progressbar=True)
    except RuntimeError as error:
        sentence = _("peft cannot merge this adapter ({reason}): push the adapter instead.")
        raise ValueError(sentence.format(reason=error)) from None


def _logits(model: Any) -> torch.Tensor:
    """(tokens, vocabulary) in float32, for a text of the first 64 tokens of the vocabulary."""
    import torch

    with torch.inference_mode():
        ids = torch.arange(min(64, model.get_input_embeddings().weight.shape[0]))[None]
        return model(input_ids=ids, use_cache=False).logits[0].float()


def _give_each_its_own(model: PeftModel) -> None:
    """End the sharing of weights, in place: merged into one of a tied pair, an adapter changes the other as well."""
    import torch

    seen = set()
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None and id(weight) in seen:
                module._parameters[name] = torch.nn.Parameter(weight.detach().clone(), weight.requires_grad)
            seen.add(id(weight))


def _tie_again(merged: Any) -> None:
    """Input and output embeddings that the adapter left equal are one again; else config says that they are two."""
    import torch

    source, output = merged.get_input_embeddings(), merged.get_output_embeddings()
    equal = torch.equal(source.weight, output.weight)
    if equal:
        output.weight = source.weight
    merged.config.tie_word_embeddings = merged.config.get_text_config().tie_word_embeddings = equal
