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
    """Gives one weight at a time. One file is open at a time, so its pages never add up to the whole model."""

    def __init__(self, places: dict[str, Path]):
        self.places, self.path, self.file = places, None, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.file is not None:
            self.file.__exit__(None, None, None)
        self.path = self.file = None

    def _open(self, name: str):
        from safetensors import safe_open

        if self.places[name] != self.path:
            self.__exit__()
            self.path = self.places[name]
            self.file = safe_open(str(self.path), framework="pt").__enter__()
        return self.file

    def read(self, name: str):
        return self._open(name).get_tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._open(name).get_slice(name).get_shape())
