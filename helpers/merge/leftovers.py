"""What a push sends, what of the repository it replaces, and what stays because somebody else put it there."""

from __future__ import annotations

import fnmatch
from pathlib import Path

# Files that programs load by their name or ending: an old one beside new weights is loaded instead of them, or with them.
LOADED = "*.safetensors pytorch_model*.bin adapter_model.bin *.index.json adapter_config.json chat_template.*".split()
MANIFEST = "qlora_files"  # on the model card: the names of all files of the push


def files_to_push(folder: Path) -> dict[str, Path]:
    """Name in the repository -> file: no hidden file, none in a hidden folder, and no GGUF, which is another form of the model.

    `.eval_results/` is hidden and goes along: the hub reads results there (see `results`).
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    hidden = {
        name for name in paths if any(part.startswith(".") for part in name.removeprefix(".eval_results/").split("/"))
    }
    return {name: path for name, path in paths.items() if name not in hidden and path.suffix.lower() != ".gguf"}


def is_loaded(name: str) -> bool:
    """True for a file that loaders take by its name: weights and their index, an adapter, a chat template."""
    return "/" not in name and any(fnmatch.fnmatch(name.lower(), pattern) for pattern in LOADED)


def left_over(there: list[str], files: dict[str, Path], written: list[str]) -> tuple[list[str], list[str]]:
    """Of the files `there` that are not of this push: (those that go, those that stay), by name.

    What an earlier push wrote goes (`written`, from its card), and what would be loaded instead of this push's files.
    All else was put there by somebody, and stays.
    """
    others = sorted(set(there) - files.keys() - {".gitattributes"})
    gone = [name for name in others if name in written or is_loaded(name)]
    return gone, [name for name in others if name not in gone]
