"""What this run may download from Hugging Face, and where W&B keeps its curves. No token is returned or printed."""

from __future__ import annotations

import os

from helpers.model.hub import hub_errors, needs_hub
from helpers.settings import RunConfig
from helpers.show.words import _


def model_access(config: RunConfig) -> str:
    """One sentence: that the base model may be downloaded, or that it is already here.

    Raises PermissionError with the link to ask for access (gated), ValueError for a model that is not there,
    RuntimeError where the hub cannot be asked.
    """
    return _access(config, "model", "model", "model_id")


def data_access(config: RunConfig) -> str:
    """As `model_access`, for the data set."""
    return _access(config, "data set", "dataset", "dataset_id")


def _access(config: RunConfig, what: str, kind: str, field: str) -> str:
    from huggingface_hub import auth_check, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    name = getattr(config, field)
    if what not in needs_hub(config):
        return _("{name} is not on the hub: nothing to ask for.").format(name=name)
    try:
        with hub_errors():
            auth_check(name, repo_type=kind)
    except GatedRepoError:
        link = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
        sentence = _("{name} is gated: log in, ask for access at {link}, wait for the mail, run this cell again.")
        raise PermissionError(sentence.format(name=name, link=link)) from None
    except RepositoryNotFoundError:
        sentence = _("{field}={name!r} is not on the hub, or it is private and your token may not see it.")
        raise ValueError(sentence.format(field=field, name=name)) from None
    return _("You may download {name}.").format(name=name)


def tracking_status(config: RunConfig) -> str:
    """One sentence: where the curves go. Without a key, W&B is set to offline for this kernel."""
    if config.report_to != "wandb":
        sentence = _("report_to is {program!r}: the curves are kept in metrics.jsonl and shown in 04.")
        return sentence.format(program=config.report_to)
    mode = os.environ.get("WANDB_MODE", "")
    if mode in ("offline", "disabled"):
        return _("W&B is {mode} (WANDB_MODE).").format(mode=mode)
    if os.environ.get("WANDB_API_KEY"):
        return _("W&B is online, with the key from WANDB_API_KEY.")
    os.environ["WANDB_MODE"] = "offline"
    return _("No WANDB_API_KEY, so W&B writes an offline file; `wandb sync` uploads it later.")
