"""A model's safetensors files: which weight is where, its shape, and one weight read at a time."""

from __future__ import annotations

from pathlib import Path

from helpers.files import read_json, write_json
from helpers.show.words import _


def weight_files(source: str, revision: str = "main") -> dict[str, Path]:
    """Weight name -> file, for a model's folder or hub id (downloaded when it is not in the cache yet).

    Of several sets of files the one that transformers loads: the one that config.json names, the single file, the index.
    Raises FileNotFoundError for a model without safetensors files, or with one that its index names and that is not there.
    """
    from safetensors import safe_open

    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(source, revision=revision, allow_patterns=["*.json", "model*.safetensors"]))
    settings = folder / "config.json"
    named = read_json(settings).get("transformers_weights") if settings.exists() else None
    choice = [named] if named else ["model.safetensors", "model.safetensors.index.json"]
    found = next((folder / name for name in choice if (folder / name).exists()), None)
    if found is None:
        sentence = _("{source} has no {file}: only safetensors weights are read here.")
        raise FileNotFoundError(sentence.format(source=source, file=choice[0]))
    if found.suffix == ".safetensors":
        with safe_open(str(found), framework="pt") as file:
            return dict.fromkeys(file.keys(), found)
    places = {name: folder / file for name, file in read_json(found)["weight_map"].items()}
    if absent := sorted({path for path in places.values() if not path.exists()}):
        sentence = _("{file} is missing in {source}, {index} names it: download the model again.")
        raise FileNotFoundError(sentence.format(file=absent[0].name, source=source, index=found.name))
    return places


class WeightFiles:
    """Gives one weight at a time, as a copy: its file is closed again, so mapped pages never add up to whole files."""

    def __init__(self, places: dict[str, Path]):
        self.places = places  # weight name -> file

    def read(self, name: str):
        """The weight, as a tensor of its own. Raises KeyError for a name that is in no file."""
        from safetensors import safe_open

        with safe_open(str(self.places[name]), framework="pt") as file:
            return file.get_tensor(name).clone()

    def shape(self, name: str) -> tuple[int, ...]:
        from safetensors import safe_open

        with safe_open(str(self.places[name]), framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())


def without_code(folder: Path) -> None:
    """Take `auto_map` out of the settings in `folder`, so that no program that reads them runs a stranger's Python code."""
    for file in sorted(folder.glob("*.json")):
        if file.name == "tokenizer.json" or file.name.endswith(".index.json"):
            continue
        settings = read_json(file)
        if _drop(settings, "auto_map"):
            write_json(file, settings)


def _drop(settings: object, name: str) -> bool:
    """True when `name` stood in `settings` or in a dictionary inside it; it is gone then."""
    if not isinstance(settings, dict):
        return False
    inside = [_drop(value, name) for value in settings.values()]
    return settings.pop(name, None) is not None or any(inside)
