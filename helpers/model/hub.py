"""Who this run is on the Hugging Face Hub, and what it needs from it. No function returns, prints or raises a token."""

from __future__ import annotations

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
    from huggingface_hub import get_token

    needs = needs_hub(config)
    if not get_token():
        if "push" in needs:
            sentence = _("push={push!r} needs an account: set HF_TOKEN (a write token), or QLORA_PUSH=none.")
            raise RuntimeError(sentence.format(push=config.push))
        needed = ", ".join(map(_, needs)) or _("nothing, go on")
        return _("No Hugging Face token here. Needed from the hub: {needed}.").format(needed=needed)
    try:
        me = _whoami()
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


def _whoami() -> dict:
    """What the hub says of the token. Raises RuntimeError with the reason where it cannot be asked."""
    import httpx2
    from huggingface_hub import whoami
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return whoami()
    except HfHubHTTPError as error:
        sentence = _("The hub refused the token (status {status}: wrong or expired): make a new one, and set HF_TOKEN.")
        sentence = sentence.format(status=error.response.status_code)
    except UnicodeEncodeError:
        sentence = _("HF_TOKEN holds letters that no token has: is it a placeholder still? Set it, or unset it.")
    except (httpx2.HTTPError, OfflineModeIsEnabled, OSError) as error:
        sentence = _("The hub cannot be reached ({kind}): check the network, and that HF_HUB_OFFLINE is not set.")
        sentence = sentence.format(kind=type(error).__name__)
    except (ValueError, ImportError) as error:
        sentence = _("The hub cannot be asked: {reason}. Check ALL_PROXY, HTTPS_PROXY (http://...) and HF_ENDPOINT.")
        sentence = sentence.format(reason=str(error).splitlines()[0].rstrip("."))
    raise RuntimeError(sentence)
