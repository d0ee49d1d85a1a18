"""May a training begin from this adapter? It may be from TRL, Unsloth, axolotl or LLaMA-Factory."""

from __future__ import annotations

import filecmp
import re
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.files import read_json
from helpers.model.adapter import PLAIN_FIELDS, other_fields, tensor_shapes
from helpers.model.lora import check_adapter, lora_config
from helpers.model.meta import on_meta
from helpers.model.refusal import Reason, Refused
from helpers.model.source import ModelSource
from helpers.paths import local_path
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from helpers.runs import RunDir

OF_A_FORK = "adapter"  # start_from: the adapter that `fork` took from the old run
SAME = {"r": "lora_r", "lora_alpha": "lora_alpha", "use_rslora": "use_rslora"}  # they decide what the numbers mean
FORMS = re.compile(r"(-unsloth)?-bnb-4bit$|-(hf|4bit)$|^meta-")  # one model's names in several places
ANYBODYS = re.compile(r"merged|checkpoint-\d+|final|model|outputs?")  # folders that are called so say nothing


def start_folder(run: RunDir, config: RunConfig) -> Path | None:
    """The adapter that config.start_from names, if any. Raises FileNotFoundError, or what `require_start` raises."""
    if not config.start_from:
        return None
    folder = run.start / "adapter" if config.start_from == OF_A_FORK else local_path(config.start_from)
    if folder is None or not folder.is_dir():
        sentence = _(
            "start_from={name!r} is no folder with an adapter: give the folder that holds adapter_model.safetensors (a "
            "hub id after `hf download`), or make this run with fork(old, new, start_from='adapter')."
        )
        raise FileNotFoundError(sentence.format(name=config.start_from))
    require_start(folder, config)
    return folder


def require_start(folder: Path, config: RunConfig) -> None:
    """Raises Refused (ADAPTER) unless a training with the settings of `config` can go on from the adapter in `folder`.

    Compared: base model, fields beyond plain LoRA, rank, alpha, and every tensor by name and shape.
    """
    check_adapter(folder)
    settings = read_json(folder / "adapter_config.json")
    if others := other_fields(settings, PLAIN_FIELDS):
        raise _unfit(folder, _("it has {fields}, which 04 does not train").format(fields=", ".join(others)))
    _require_base(folder, settings, config)
    for theirs, ours in SAME.items():
        value, wanted = settings.get(theirs, False), getattr(config, ours)
        if value != wanted:
            sentence = _("it has {theirs}={value!r}, and the run {ours}={wanted!r}: set {ours}={value!r}")
            raise _unfit(folder, sentence.format(theirs=theirs, value=value, ours=ours, wanted=wanted), ours)
    _require_tensors(folder, config)


def _require_base(folder: Path, settings: dict, config: RunConfig) -> None:
    theirs = settings.get("base_model_name_or_path") or ""
    if theirs and not _same_base(theirs, config):
        sentence = _(
            "it was trained on {theirs!r}, and the run's model_id is {ours!r}. If both are the same weights, write the "
            "run's name as base_model_name_or_path into its adapter_config.json"
        )
        raise _unfit(folder, sentence.format(theirs=theirs, ours=config.model_id), "model_id")


def _same_base(theirs: str, config: RunConfig) -> bool:
    """Whether it is the run's base; shapes cannot tell a model from its chat version.

    Two folders are compared by their weights, else the names: less where they lie and how the weights were packed.
    """
    source, here = ModelSource.of(config), local_path(theirs)
    its = here / "config.json" if here else Path()
    if here and its.exists() and source.is_folder and "quantization_config" not in read_json(its):
        return _same_weights(here, Path(source.path))
    name = _plain(theirs)
    by_name = name in (_plain(config.model_id), _plain(source.path)) and not ANYBODYS.fullmatch(name)
    return by_name or theirs == config.model_id


def _same_weights(one: Path, other: Path) -> bool:
    """Whether two folders are one, or hold the same weight files, byte for byte."""
    names = {file.name for folder in (one, other) for file in folder.glob("*.safetensors")}
    return one.samefile(other) or 0 < len(names) == len(filecmp.cmpfiles(one, other, names, shallow=False)[0])


def _plain(name: str) -> str:
    """ "unsloth/Qwen3-0.6B-unsloth-bnb-4bit", ".../models--Qwen--Qwen3-0.6B/snapshots/c1..." -> "qwen3-0.6b"."""
    cached = re.search(r"models--[^/]+?--([^/]+)", name)
    return FORMS.sub("", (cached[1] if cached else re.split("[/:]", name.rstrip("/"))[-1]).lower())


def _require_tensors(folder: Path, config: RunConfig) -> None:
    """Name by name and shape by shape what peft would train here, against the file."""
    from peft import get_peft_model, get_peft_model_state_dict

    base = on_meta(ModelSource.of(config).settings(), trust_remote_code=config.trust_remote_code)
    model = get_peft_model(base, lora_config(config), low_cpu_mem_usage=True)
    state, there = get_peft_model_state_dict(model, save_embedding_layers=False), tensor_shapes(folder)
    wanted = {name: tuple(weight.shape) for name, weight in state.items()}
    for name in sorted(wanted.keys() | there.keys()):
        if there.get(name) != wanted.get(name):
            names = ",".join(sorted({name.partition(".lora_")[0].rpartition(".")[2] for name in there}))
            sentence = _(
                "{name} is {there} in its file and {wanted} in the run; lora_target_modules={names!r} has what it has"
            )
            shapes = {"there": there.get(name, _("missing")), "wanted": wanted.get(name, _("missing"))}
            raise _unfit(folder, sentence.format(name=name, **shapes, names=names), "lora_target_modules")


def _unfit(folder: Path, reason: str, setting: str = "start_from") -> Refused:
    sentence = _("No training can begin from the adapter in {folder}: {reason}.")
    return Refused(Reason.ADAPTER, sentence.format(folder=folder, reason=reason), setting)
