"""A model's safetensors files: which weight is where, its shape, and one weight read at a time."""

from __future__ import annotations

import json
from pathlib import Path


def weight_files(source: str, revision: str = "main") -> dict[str, Path]:
    """Weight name -> file, for a model's folder or hub id (downloaded when it is not in the cache yet).

    Raises FileNotFoundError for a model without safetensors files.
    """
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(source, revision=revision, allow_patterns=["*.json", "model*.safetensors"]))
    index = folder / "model.safetensors.index.json"
    if index.exists():
        places = json.loads(index.read_text())["weight_map"]
        return {name: folder / file for name, file in places.items()}
    single = folder / "model.safetensors"
    if not single.exists():
        raise FileNotFoundError(f"{source} has no model.safetensors: only safetensors weights are read here.")
    from safetensors import safe_open

    with safe_open(str(single), framework="pt") as file:
        return dict.fromkeys(file.keys(), single)


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
