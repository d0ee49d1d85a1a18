"""What others may call a model or data set, and under which licence it came: for the model card."""

from __future__ import annotations

import re

from helpers.config import SAMPLE_DATA, local_path
from helpers.model.source import DEMO_MODEL, TINY_MODEL

DEMO_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
PERMISSIVE = ("mit", "apache-2.0", "cc0-1.0", "cc-by-4.0")
# (the hub's short name for it, in words); other models and data sets on the hub are asked for theirs
LICENCES = {
    DEMO_MODEL: ("apache-2.0", "apache-2.0 (SmolLM2, HuggingFaceTB)"),
    TINY_MODEL: ("mit", "mit (built by this project)"),
    SAMPLE_DATA: ("mit", "mit (written for this project)"),
    "meta-llama/Llama-2-7b-hf": ("llama2", "llama2 (Meta's Llama 2 Community License)"),
    "heegyu/open-korean-instructions": (
        "other",
        "its card says MIT, but its part ko_alpaca is CC-BY-NC-4.0: not for commercial use",
    ),
}


def public_name(name: str) -> str:
    """A model or data set as others know it: its hub id, or the last part of a local path."""
    if name == DEMO_MODEL:
        return DEMO_ON_HUB
    return name if on_hub(name) else name.rstrip("/").split("/")[-1]


def licence(name: str, kind: str) -> tuple[str, str]:
    """(the hub's short name, in words) of the licence of a "model" or "dataset", from its page on the hub.

    Raises huggingface_hub's own errors when the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    if name in LICENCES:
        return LICENCES[name]
    unknown = ("other", f"{public_name(name)}: not known here, look it up before you make this public")
    if not on_hub(name):
        return unknown
    try:
        info = HfApi().model_info(name) if kind == "model" else HfApi().dataset_info(name)
    except RepositoryNotFoundError:  # gone, or not for this token
        return unknown
    found = (info.card_data or {}).get("license")
    return (found, f"{found} ({name})") if isinstance(found, str) else unknown


def on_hub(name: str) -> bool:
    """True for a hub id; False for a file or folder here, and for the project's own "pip:" and "build:" models."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", name)) and local_path(name) is None
