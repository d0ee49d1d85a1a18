"""A model's config.json without its weights: from a folder, from the hub, or from the bundled list (shapes.json).

This module imports in milliseconds.
"""

from __future__ import annotations

from pathlib import Path

from helpers.files import read_json
from helpers.model.quantise import refuse_quantised
from helpers.model.refusal import Reason, Refused
from helpers.model.source import ModelSource
from helpers.settings import RunConfig
from helpers.show.words import _

# From config.json files on the hub, only what the planner needs; the demo model's too: its conversion takes a while
SHAPES: dict[str, dict] = read_json(Path(__file__).with_suffix(".json"))


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
