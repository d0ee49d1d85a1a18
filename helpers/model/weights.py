"""A model's files: which weight is where, its shape, one weight read at a time, and no names of a stranger's code."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open

from helpers.files import read_json, write_json
from helpers.model.refusal import Reason, Refused
from helpers.model.source import ModelSource
from helpers.show.words import _

Loaded = TypeVar("Loaded")


def weight_files(source: str, revision: str = "main") -> dict[str, Path]:
    """Weight name -> file, for a model's folder or hub id (downloaded): the set that transformers loads.

    Raises FileNotFoundError for a model without safetensors files, or without one that its index names; `Refused`
    (MISSING_WEIGHTS) for a file that was cut.
    """
    folder = ModelSource(source, revision, trust=False).folder(["*.json", "model*.safetensors"])
    settings = folder / "config.json"
    named = read_json(settings).get("transformers_weights") if settings.exists() else None
    choice = [named] if named else ["model.safetensors", "model.safetensors.index.json"]
    there = [folder / name for name in choice if (folder / name).exists()]
    if not there:
        sentence = _("{source} has no {file}: only safetensors weights are read here.")
        raise FileNotFoundError(sentence.format(source=source, file=choice[0]))
    if there[0].suffix == ".safetensors":
        return dict.fromkeys(_names(there[0]), there[0])
    places = {name: folder / file for name, file in read_json(there[0])["weight_map"].items()}
    absent = sorted(path.name for path in places.values() if not path.exists())
    if absent:
        sentence = _("{file} is missing in {source}, {index} names it: download the model again.")
        raise FileNotFoundError(sentence.format(file=absent[0], source=source, index=there[0].name))
    for path in sorted(set(places.values())):
        _names(path)
    return places


def require_whole(source: ModelSource) -> None:
    """Raises what `weight_files` raises, for a folder here; a model of the hub is not downloaded for it."""
    if source.is_folder:
        weight_files(source.path)


def _names(path: Path) -> list[str]:
    """The weights of a file, by its head, which also says how long the file is."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return list(file.keys())
    except SafetensorError:
        sentence = _("{file} is not whole (or it is a git-lfs pointer): download it again.").format(file=path)
        raise Refused(Reason.MISSING_WEIGHTS, sentence) from None


class WeightFiles:
    """Gives one weight at a time, as a copy: its file is closed again, so mapped pages never add up to whole files."""

    def __init__(self, places: dict[str, Path]):
        self.places = places  # weight name -> file

    def read(self, name: str):
        """The weight, as a tensor of its own. Raises KeyError for a name that is in no file."""
        with safe_open(str(self.places[name]), framework="pt") as file:
            return file.get_tensor(name).clone()

    def shape(self, name: str) -> tuple[int, ...]:
        with safe_open(str(self.places[name]), framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())


def forget_code(thing: Loaded, trust: bool) -> Loaded:
    """A config, model or tokenizer whose `save_pretrained` names no stranger's code; as it was with `trust`."""
    if not trust:
        vars(thing).pop("auto_map", None)
        parts = (getattr(thing, name, None) for name in ("config", "generation_config", "init_kwargs"))
        drop_code([thing, *parts])
    return thing


def without_code(folder: Path) -> None:
    """The same for the settings in `folder`, so that no program that reads them runs a stranger's Python code."""
    for file in sorted(folder.glob("*.json")):
        if file.name == "tokenizer.json" or file.name.endswith(".index.json"):
            continue
        settings = read_json(file)
        if drop_code(settings):
            write_json(file, settings)


def drop_code(settings: object) -> bool:
    """Take `auto_map` out of a config object, dictionary or list and all inside it; True when one was there.

    Others run what it names: llama.cpp's converter asks for it with trust_remote_code=True.
    """
    if isinstance(settings, (list, tuple)):
        return any([drop_code(part) for part in settings])
    if hasattr(settings, "to_diff_dict"):  # the library's configs
        settings = vars(settings)
    if not isinstance(settings, dict):
        return False
    named = settings.pop("auto_map", None) is not None
    return any([drop_code(part) for part in settings.values()]) or named
