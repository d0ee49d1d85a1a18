"""Who this run is on the Hugging Face Hub, and what it needs from it. No function returns, prints or raises a token."""

from __future__ import annotations

import contextlib
import os
import re

from helpers.model.source import ModelSource
from helpers.paths import local_path
from helpers.settings import RunConfig
from helpers.show.words import N_, _


def needs_hub(config: RunConfig) -> list[str]:
    """What of the run comes from or goes to the hub: any of "model", "data set", "push"."""
    needs = {
        N_("model"): local_path(config.model_id) is None and not ModelSource.of(config).is_folder,
        N_("data set"): local_path(config.dataset_id) is None,
        N_("push"): config.push != "none",
    }
    return [name for name, needed in needs.items() if needed]


def hub_status(config: RunConfig) -> str:
    """One sentence: who you are on the hub, or that this run goes on without an account.

    Raises RuntimeError where the run needs the hub and cannot have it, or pushes without a token that may write.
    """
    from huggingface_hub import get_token, whoami

    needs = needs_hub(config)
    if not get_token():
        if "push" in needs:
            sentence = _("push={push!r} needs an account: set HF_TOKEN (a write token), or QLORA_PUSH=none.")
            raise RuntimeError(sentence.format(push=config.push))
        needed = ", ".join(map(_, needs)) or _("nothing, go on")
        return _("No Hugging Face token here. Needed from the hub: {needed}.").format(needed=needed)
    try:
        with hub_errors():
            me = whoami()
    except RuntimeError as problem:
        if needs:
            raise
        return _("{problem} This run needs nothing from it, so it goes on.").format(problem=problem)
    role = ((me.get("auth") or {}).get("accessToken") or {}).get("role")  # read, write or fineGrained
    if "push" in needs and role == "read":
        sentence = _(
            "push={push!r} uploads, and this token may only read: set HF_TOKEN to a write token, or QLORA_PUSH=none."
        )
        raise RuntimeError(sentence.format(push=config.push))
    return _("Logged in on the hub as {name}.").format(name=me["name"])


@contextlib.contextmanager
def hub_errors():
    """Makes one sentence (RuntimeError) of what the hub's client raises; that a repository is not there passes."""
    import httpx2
    from huggingface_hub.errors import DeviceCodeError, HfHubHTTPError, RepositoryNotFoundError

    try:
        yield
    except RepositoryNotFoundError:
        raise
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, ValueError, ImportError) as error:
        raise RuntimeError(_refused_setting(error)) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            sentence = _(
                "The hub refused the token (status {status}: wrong or expired): make a new one, and set HF_TOKEN."
            )
        else:
            sentence = _("The hub answered with status {status}: try again later, or see whether HF_TOKEN may do this.")
        raise RuntimeError(sentence.format(status=status)) from None
    except (httpx2.HTTPError, DeviceCodeError, OSError) as error:
        sentence = _(
            "The hub cannot be reached ({error}): check the network, and that HF_HUB_OFFLINE is not set; without the "
            "hub, HF_TOKEN is your login, and model_id and dataset_id take local paths."
        )
        raise RuntimeError(sentence.format(error=type(error).__name__)) from None


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
