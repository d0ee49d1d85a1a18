"""Who is logged in, on Hugging Face and on W&B. No function here returns, prints or raises a token."""

from __future__ import annotations

import contextlib
import os

from helpers.model.hub import needs_hub
from helpers.settings import RunConfig


@contextlib.contextmanager
def login_errors():
    """Makes one sentence (RuntimeError) of what `notebook_login` raises when the hub does not answer."""
    import httpx2
    from huggingface_hub.errors import DeviceCodeError, OfflineModeIsEnabled

    try:
        yield
    except (DeviceCodeError, OfflineModeIsEnabled, httpx2.HTTPError) as error:
        raise RuntimeError(
            f"The hub cannot be asked for a login ({type(error).__name__}): check the network, and that HF_HUB_OFFLINE "
            "is not set; or set HF_TOKEN; or give a local folder as model_id."
        ) from None


def model_access(config: RunConfig) -> str:
    """One sentence: that the base model may be downloaded, or that it is already here.

    Raises PermissionError with the link to ask for access (gated), ValueError for a model that is not there,
    RuntimeError without a network.
    """
    return _access(config, "model")


def data_access(config: RunConfig) -> str:
    """As `model_access`, for the data set."""
    return _access(config, "data set")


def _access(config: RunConfig, what: str) -> str:
    import httpx2
    from huggingface_hub import auth_check, constants
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    kind, field = {"model": ("model", "model_id"), "data set": ("dataset", "dataset_id")}[what]
    name = getattr(config, field)
    if what not in needs_hub(config):
        return f"{name} is no hub {what}: nothing to ask for."
    try:
        auth_check(name, repo_type=kind)
    except GatedRepoError:
        link = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
        raise PermissionError(
            f"{name} is gated: log in, ask for access at {link}, wait for the mail, run this cell again."
        ) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"{field}={name!r} is not on the hub, or it is private and your token may not see it."
        ) from None
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        raise RuntimeError(
            f"The hub cannot be reached ({type(error).__name__}) to ask about {name}: check the network, "
            f"or give a local path as {field}."
        ) from None
    return f"You may download {name}."


def tracking_status(config: RunConfig) -> str:
    """One sentence: where the curves go. Without a key, W&B is set to offline for this kernel."""
    if config.report_to != "wandb":
        return f"report_to is {config.report_to!r}: the curves are kept in metrics.jsonl and shown in 04."
    mode = os.environ.get("WANDB_MODE", "")
    if mode in ("offline", "disabled"):
        return f"W&B is {mode} (WANDB_MODE)."
    if os.environ.get("WANDB_API_KEY"):
        return "W&B is online, with the key from WANDB_API_KEY."
    os.environ["WANDB_MODE"] = "offline"
    return "No WANDB_API_KEY, so W&B writes an offline file; `wandb sync` uploads it later."
