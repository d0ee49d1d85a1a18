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
    """Open files that give one weight at a time, so that no file is ever in memory as a whole."""

    def __init__(self, places: dict[str, Path]):
        self.places, self.open_files = places, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self.open_files.values():
            file.__exit__(None, None, None)

    def _file(self, name: str):
        from safetensors import safe_open

        path = self.places[name]
        if path not in self.open_files:
            self.open_files[path] = safe_open(str(path), framework="pt").__enter__()
        return self.open_files[path]

    def read(self, name: str):
        return self._file(name).get_tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file(name).get_slice(name).get_shape())
