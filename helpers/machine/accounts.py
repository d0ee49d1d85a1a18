"""Who is logged in, on Hugging Face and on W&B. No function here returns, prints or raises a token."""

from __future__ import annotations

import contextlib
import os
import re

from helpers.model.hub import needs_hub
from helpers.settings import RunConfig
from helpers.show.words import _


@contextlib.contextmanager
def login_errors():
    """Makes one sentence (RuntimeError) of what `notebook_login` raises when the hub cannot be asked."""
    import httpx2
    from huggingface_hub.errors import DeviceCodeError, OfflineModeIsEnabled

    try:
        yield
    except (DeviceCodeError, OfflineModeIsEnabled, httpx2.HTTPError) as error:
        sentence = _(
            "The hub cannot be asked for a login ({error}): check network and HF_HUB_OFFLINE, or set HF_TOKEN."
        )
        raise RuntimeError(sentence.format(error=type(error).__name__)) from None
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise RuntimeError(_refused_setting(error)) from None


def _refused_setting(error: Exception) -> str:
    """Which setting here the hub's client does not take; of a proxy, whose address may hold a password, the name."""
    from huggingface_hub import constants

    if isinstance(error, UnicodeEncodeError):
        return _("HF_TOKEN holds letters that no token has: is it a placeholder that was left in? Set it, or unset it.")
    if not constants.ENDPOINT.startswith(("http://", "https://")):
        return _("HF_ENDPOINT={address!r} is no address: it begins with https://.").format(address=constants.ENDPOINT)
    proxies = [name for name in os.environ if os.environ[name] and re.fullmatch(r"(?!no_).*_proxy", name, re.I)]
    if proxies:
        sentence = _("The hub cannot be asked through the proxy ({variables}): its address must begin with http://.")
        return sentence.format(variables=", ".join(sorted(proxies)))
    return _("The hub cannot be asked ({error}): {text}.").format(error=type(error).__name__, text=error)


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
    import httpx2
    from huggingface_hub import auth_check, constants
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    name = getattr(config, field)
    if what not in needs_hub(config):
        return _("{name} is not on the hub: nothing to ask for.").format(name=name)
    try:
        auth_check(name, repo_type=kind)
    except GatedRepoError:
        link = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
        sentence = _("{name} is gated: log in, ask for access at {link}, wait for the mail, run this cell again.")
        raise PermissionError(sentence.format(name=name, link=link)) from None
    except RepositoryNotFoundError:
        sentence = _("{field}={name!r} is not on the hub, or it is private and your token may not see it.")
        raise ValueError(sentence.format(field=field, name=name)) from None
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, ValueError, ImportError) as error:
        raise RuntimeError(_refused_setting(error)) from None
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        sentence = _(
            "The hub cannot be reached ({error}) for {name}: check the network, or give a local path as {field}."
        )
        raise RuntimeError(sentence.format(error=type(error).__name__, name=name, field=field)) from None
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
