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

    Raises RuntimeError, in one sentence, for a refused token, no network, settings of the network that the client cannot
    take, or, where the run pushes, no token or one that may only read.
    """
    from huggingface_hub import get_token

    needs = needs_hub(config)
    if not get_token():
        if "push" in needs:
            sentence = _("push={push!r} needs an account: set HF_TOKEN (a write token), or QLORA_PUSH=none.")
            raise RuntimeError(sentence.format(push=config.push))
        needed = ", ".join(map(_, needs)) or _("nothing, go on")
        return _("No Hugging Face token here. Needed from the hub: {needed}.").format(needed=needed)
    me, problem = _whoami()
    if not problem:
        role = ((me.get("auth") or {}).get("accessToken") or {}).get("role")  # read, write or fineGrained
        if "push" in needs and role == "read":
            sentence = _(
                "push={push!r} uploads, and this token may only read: set HF_TOKEN to a write token, or QLORA_PUSH=none."
            )
            raise RuntimeError(sentence.format(push=config.push))
        return _("Logged in on the hub as {name}.").format(name=me["name"])
    if not needs:
        return _("{problem} This run needs nothing from it, so it goes on.").format(problem=problem)
    raise RuntimeError(problem)


def _whoami() -> tuple[dict, str]:
    """What the hub says of the token, and why it cannot be asked; "" when it could be."""
    import httpx2
    from huggingface_hub import whoami
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return whoami(), ""
    except HfHubHTTPError as error:
        sentence = _(
            "The hub refused the token (status {status}: wrong or expired): make a new one in your account's settings and set "
            "HF_TOKEN."
        )
        return {}, sentence.format(status=error.response.status_code)
    except UnicodeEncodeError:
        return {}, _(
            "HF_TOKEN holds letters that no token has: is it a placeholder that was left in? Set it, or unset it."
        )
    except (httpx2.HTTPError, OfflineModeIsEnabled, OSError) as error:
        sentence = _("The hub cannot be reached ({kind}): check the network, and that HF_HUB_OFFLINE is not set.")
        return {}, sentence.format(kind=type(error).__name__)
    except (ValueError, ImportError) as error:
        sentence = _(
            "The hub cannot be asked: {reason}. Check the variables ALL_PROXY, HTTPS_PROXY and HF_ENDPOINT: a proxy begins "
            "with http:// here."
        )
        return {}, sentence.format(reason=str(error).splitlines()[0].rstrip("."))
