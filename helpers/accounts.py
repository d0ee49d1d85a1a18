"""Who is logged in: Hugging Face and W&B, without ever showing a token."""

from __future__ import annotations

import os
import sys

from helpers.config import RunConfig, local_path
from helpers.models import resolve_model


def is_interactive() -> bool:
    """True in a notebook that a person has open; False in papermill, nbmake and scripts, where a widget would hang."""
    if os.environ.get("CI") or os.environ.get("PAPERMILL_RUN") or "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    # nbclient (papermill, nbmake) asks for no input; JupyterLab allows it
    return bool(shell and shell.kernel.get_parent().get("content", {}).get("allow_stdin"))


def needs_hub(config: RunConfig) -> list[str]:
    """What of the run comes from the hub: any of "model", "data", "push"."""
    needs = []
    if not config.model_id.startswith(("pip:", "build:")) and resolve_model(config.model_id) == config.model_id:
        needs.append("model")
    if local_path(config.dataset_id) is None:
        needs.append("data")
    if config.push != "none":
        needs.append("push")
    return needs


def hub_account() -> str:
    """The account's name on the hub, or "" when no token is there.

    Raises RuntimeError with one sentence for a refused token or no network; the token is never part of it.
    """
    import httpx
    from huggingface_hub import get_token, whoami
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if not get_token():
        return ""
    try:
        return whoami()["name"]
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = "it is wrong or expired" if status == 401 else f"the hub answered {status}"
        raise RuntimeError(
            f"The Hugging Face token was refused ({reason}): make a new one under Settings > Access Tokens, and set HF_TOKEN."
        ) from None
    except (httpx.HTTPError, OfflineModeIsEnabled, OSError):
        raise RuntimeError(
            "The hub cannot be reached: check the network (and that HF_HUB_OFFLINE is not set), then run this cell again."
        ) from None


def model_access(model_id: str) -> str:
    """One sentence on whether this account may download `model_id`; "" when it is not a hub model.

    Raises PermissionError with the link to ask for access (gated), or ValueError for a model that is not there.
    """
    from huggingface_hub import auth_check
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if model_id.startswith(("pip:", "build:")) or resolve_model(model_id) != model_id:
        return ""
    try:
        auth_check(model_id)
    except GatedRepoError:
        raise PermissionError(
            f"{model_id} is gated: log in and ask for access at {ENDPOINT}/{model_id}, then run this cell again."
        ) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"model_id={model_id!r} is not on the hub, or it is private and this token may not see it."
        ) from None
    return f"You may download {model_id}."


def tracking_mode(config: RunConfig) -> str:
    """Where the curves go, and with no key W&B is set to offline; one sentence to show."""
    if config.report_to != "wandb":
        return f"Tracking: report_to={config.report_to!r}; curves are in metrics.jsonl in any case."
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return f"W&B: WANDB_MODE={os.environ['WANDB_MODE']}."
    if os.environ.get("WANDB_API_KEY"):
        return "W&B: online, with the key from WANDB_API_KEY."
    os.environ["WANDB_MODE"] = "offline"
    return "W&B: no WANDB_API_KEY, so the run is written to an offline file; `wandb sync` uploads it later."
