"""What others may call a model or data set, and under which licence it came: for the model card."""

from __future__ import annotations

import re
from dataclasses import dataclass

from helpers.model.source import DEMO_MODEL, TINY_MODEL
from helpers.paths import local_path

DEMO_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
PERMISSIVE = ("mit", "apache-2.0", "cc0-1.0", "cc-by-4.0")
# (the hub's short name for it, in words); other models and data sets on the hub are asked for theirs
OWN_DATA = [
    f"notebooks/data/{name}.jsonl" for name in ("calendar_en", "calendar_ko", "polite_ko", "sample_ko_instructions")
]
LICENCES = {
    DEMO_MODEL: ("apache-2.0", "apache-2.0 (SmolLM2, HuggingFaceTB)"),
    TINY_MODEL: ("mit", "mit (built by this project)"),
    **dict.fromkeys(OWN_DATA, ("mit", "mit (written for this project)")),
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


@dataclass(frozen=True)
class Licence:
    """What a model or data set came under: the hub's short name of it, the same in words, its own name and address."""

    id: str
    words: str
    name: str = ""  # of a licence that the hub has no short name for
    link: str = ""


def licence(name: str, kind: str) -> Licence:
    """The licence of a "model" or "dataset", from its page on the hub.

    Raises huggingface_hub's own errors when the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    if name in LICENCES:
        return Licence(*LICENCES[name])
    unknown = Licence("other", f"{public_name(name)}: not known here, look it up before you make this public")
    if not on_hub(name):
        return unknown
    try:
        info = HfApi().model_info(name) if kind == "model" else HfApi().dataset_info(name)
    except RepositoryNotFoundError:  # gone, or not for this token
        return unknown
    found, own, link = ((info.card_data or {}).get(key) for key in ("license", "license_name", "license_link"))
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, str):
        return unknown
    if isinstance(link, str) and link and "://" not in link:  # a file of that repository
        link = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}/blob/main/{link}"
    told = ", ".join(str(part) for part in (own, link) if part)
    return Licence(found, f"{found} ({name}{': ' if told else ''}{told})", str(own or ""), str(link or ""))


def naming_rule(base: Licence, repo: str) -> str:
    """What the base's licence says about a derived model's name and page, in words; "" when it says nothing.

    Llama 3 Community License (2024) and its successors, 1.b.i; Llama 2's has no such rule.
    """
    if not re.search(r"llama-?[34]", f"{base.id} {base.name}".lower()):
        return ""
    told = "Built with Llama. The base model's licence asks that a model made from it has a name that begins with Llama"
    return (
        f"{told}."
        if repo.rpartition("/")[2].lower().startswith("llama")
        else f"{told}: {repo} does not, so set QLORA_HUB_REPO."
    )


def on_hub(name: str) -> bool:
    """True for a hub id; False for a file or folder here, and for the project's own "pip:" and "build:" models."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", name)) and local_path(name) is None
