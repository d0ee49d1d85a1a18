"""What others may call a model or data set, and under which licence it came: for the model card."""

from __future__ import annotations

import re
from dataclasses import dataclass

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from helpers.model.source import DEMO_MODEL, TINY_MODEL
from helpers.paths import local_path

DEMO_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
PERMISSIVE = ("mit", "apache-2.0", "cc0-1.0", "cc-by-4.0")
# (the hub's short name for it, in words); other models and data sets on the hub are asked for theirs
OWN_DATA = [
    f"notebooks/data/{name}.jsonl"
    for name in "calendar_en calendar_ko polite_ko sample_ko_instructions preferences_calendar".split()
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
    """The licence of a "model" or "dataset", from its page on the hub. Raises huggingface_hub's own errors."""
    if name in LICENCES:
        return Licence(*LICENCES[name])
    head = _card(name, kind)
    terms = head.get("license")
    if isinstance(terms, list) and len(terms) == 1:
        terms = terms[0]
    if not isinstance(terms, str):
        return Licence("other", f"{public_name(name)}: not known here, look it up before you make this public")
    own, link = str(head.get("license_name") or ""), str(head.get("license_link") or "")
    if link and "://" not in link:  # a file of that repository
        link = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}/blob/main/{link}"
    details = ", ".join(filter(None, (own, link)))
    return Licence(terms, f"{terms} ({name}{': ' if details else ''}{details})", own, link)


def _card(name: str, kind: str) -> dict:
    """The head of its page; {} when it is not on the hub, has none, or is not for this token."""
    if not on_hub(name):
        return {}
    try:
        info = HfApi().model_info(name) if kind == "model" else HfApi().dataset_info(name)
    except (RepositoryNotFoundError, HFValidationError):  # also a path here that has moved since
        return {}
    return info.card_data.to_dict() if info.card_data else {}


def naming_rule(base: Licence, repo: str) -> str:
    """What the base's licence says about a derived model's name and page, in words; "" when it says nothing.

    Llama 3 Community License (2024) and its successors, 1.b.i; Llama 2's has no such rule."""
    if not re.search(r"llama[-_ ]?[34]", f"{base.id} {base.name}".lower()):
        return ""
    rule = "Built with Llama. The base model's licence asks that a model made from it has a name that begins with Llama"
    if repo.rpartition("/")[2].lower().startswith("llama"):
        return f"{rule}."
    return f"{rule}: {repo} does not, so set QLORA_HUB_REPO."


def on_hub(name: str) -> bool:
    """True for a hub id; False for a file or folder here, and for the project's own "pip:" and "build:" models."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", name)) and local_path(name) is None
