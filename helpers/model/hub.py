"""Who this run is on the Hugging Face Hub, and what it needs from it. No function returns, prints or raises a token."""

from __future__ import annotations

from helpers.model.source import ModelSource
from helpers.paths import local_path
from helpers.settings import RunConfig


def needs_hub(config: RunConfig) -> list[str]:
    """What of the run comes from or goes to the hub: any of "model", "data set", "push"."""
    needs = {
        "model": not ModelSource.of(config).is_folder,
        "data set": local_path(config.dataset_id) is None,
        "push": config.push != "none",
    }
    return [name for name, needed in needs.items() if needed]


def hub_status(config: RunConfig) -> str:
    """One sentence: who you are on the hub, or that this run goes on without an account.

    Raises RuntimeError, in one sentence, for a refused token, no network, or, where the run pushes, no token or one
    that may only read.
    """
    import httpx2
    from huggingface_hub import get_token, whoami
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    needs = needs_hub(config)
    if not get_token():
        if "push" in needs:
            raise RuntimeError(
                f"push={config.push!r} needs an account: set HF_TOKEN (a write token), or QLORA_PUSH=none."
            )
        return f"No Hugging Face token here. Needed from the hub: {', '.join(needs) or 'nothing, go on'}."
    try:
        me = whoami()
    except HfHubHTTPError as error:
        status = error.response.status_code
        problem = f"The hub refused the token (status {status}: wrong or expired): make a new one in your account's settings and set HF_TOKEN."
    except (httpx2.HTTPError, OfflineModeIsEnabled, OSError) as error:
        problem = f"The hub cannot be reached ({type(error).__name__}): check the network, and that HF_HUB_OFFLINE is not set."
    else:
        role = ((me.get("auth") or {}).get("accessToken") or {}).get("role")  # read, write or fineGrained
        if "push" in needs and role == "read":
            raise RuntimeError(
                f"push={config.push!r} uploads, and this token may only read: set HF_TOKEN to a write token, or QLORA_PUSH=none."
            )
        return f"Logged in on the hub as {me['name']}."
    if not needs:
        return f"{problem} This run needs nothing from it, so it goes on."
    raise RuntimeError(problem)
