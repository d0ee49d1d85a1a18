"""A model's config.json without its weights: from a folder, from the hub, or from the bundled list of common shapes.

This module imports in milliseconds.
"""

from __future__ import annotations

from pathlib import Path

from helpers.files import read_json
from helpers.model.quantise import refuse_quantised
from helpers.model.refusal import Reason, Refused
from helpers.model.source import DEMO_MODEL, ModelSource
from helpers.settings import RunConfig
from helpers.show.words import _


def _llama(hidden, intermediate, layers, heads, kv_heads, vocabulary, **more) -> dict:
    names = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size".split()
    values = (hidden, intermediate, layers, heads, kv_heads, vocabulary)
    return {"model_type": "llama", **dict(zip(names, values, strict=True)), "tie_word_embeddings": False, **more}


# From the config.json files on the hub; only what the planner needs.
SHAPES = {
    "meta-llama/Llama-2-7b-hf": _llama(4096, 11008, 32, 32, 32, 32000),
    "meta-llama/Llama-2-13b-hf": _llama(5120, 13824, 40, 40, 40, 32000),
    "meta-llama/Llama-2-70b-hf": _llama(8192, 28672, 80, 64, 8, 32000),
    "huggyllama/llama-30b": _llama(6656, 17920, 60, 52, 52, 32000),
    "huggyllama/llama-65b": _llama(8192, 22016, 80, 64, 64, 32000),
    "meta-llama/Llama-3.1-8B": _llama(4096, 14336, 32, 32, 8, 128256),
    "meta-llama/Llama-3.2-1B": _llama(2048, 8192, 16, 32, 8, 128256, head_dim=64, tie_word_embeddings=True),
    "meta-llama/Llama-3.2-3B": _llama(3072, 8192, 28, 24, 8, 128256, head_dim=128, tie_word_embeddings=True),
    "mistralai/Mistral-7B-v0.1": _llama(4096, 14336, 32, 32, 8, 32000, model_type="mistral", sliding_window=4096),
    "Qwen/Qwen2.5-0.5B": _llama(896, 4864, 24, 14, 2, 151936, model_type="qwen2", tie_word_embeddings=True),
    "Qwen/Qwen2.5-1.5B": _llama(1536, 8960, 28, 12, 2, 151936, model_type="qwen2", tie_word_embeddings=True),
    "Qwen/Qwen2.5-7B": _llama(3584, 18944, 28, 28, 4, 152064, model_type="qwen2"),
    "Qwen/Qwen3-0.6B": _llama(
        1024, 3072, 28, 16, 8, 151936, model_type="qwen3", head_dim=128, tie_word_embeddings=True
    ),
    # the demo model, so that planning does not wait for its conversion
    DEMO_MODEL: _llama(576, 1536, 30, 9, 3, 49152, tie_word_embeddings=True),
}


def model_config(config: RunConfig) -> dict:
    """The config.json of config.model_id as a dict: bundled list first, then its folder, then the hub (a few kB).

    Raises `Refused` where there is none, it is gated, broken or quantised already; ConnectionError without a network.
    """
    if config.model_id in SHAPES:
        return SHAPES[config.model_id]
    source = ModelSource.of(config)
    numbers = _read(Path(source.path) / "config.json") if source.is_folder else _from_hub(source.path, source.revision)
    refuse_quantised(numbers, config.model_id)
    return numbers


def _read(path: Path) -> dict:
    try:
        numbers = read_json(path)
    except (ValueError, RecursionError) as error:  # not JSON, or not even text
        sentence = _("{path} cannot be read as JSON ({reason}): download it again.")
        raise Refused(Reason.CONFIG, sentence.format(path=path, reason=error)) from None
    if not isinstance(numbers, dict):
        sentence = _("{path} holds a {kind}, not the settings of a model: download it again.")
        raise Refused(Reason.CONFIG, sentence.format(path=path, kind=type(numbers).__name__))
    return numbers


def _from_hub(model_id: str, revision: str) -> dict:
    from huggingface_hub import errors, hf_hub_download

    try:
        path = hf_hub_download(model_id, "config.json", revision=revision)
    except errors.GatedRepoError:
        sentence = _(
            "model_id={name!r} is gated: ask for access at https://huggingface.co/{name} and log in (02_login.ipynb), "
            "then run this again."
        )
        raise Refused(Reason.NOT_FOUND, sentence.format(name=model_id)) from None
    except errors.LocalEntryNotFoundError:
        sentence = _(
            "model_id={name!r} is not in the bundled list and the hub cannot be reached: give a folder with its "
            "config.json, or one of {known}."
        )
        known = ", ".join(name for name in SHAPES if "/" in name)
        raise ConnectionError(sentence.format(name=model_id, known=known)) from None
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError):
        sentence = _("model_id={name!r} has no config.json on the hub: check the spelling, or log in if it is private.")
        raise Refused(Reason.NOT_FOUND, sentence.format(name=model_id)) from None
    return _read(Path(path))
