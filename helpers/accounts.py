"""Who is logged in, on Hugging Face and on W&B. No function here returns, prints or raises a token."""

from __future__ import annotations

import contextlib
import os

from helpers.config import RunConfig, local_path
from helpers.models import resolve_model


def is_interactive() -> bool:
    """True when a person runs this cell in a browser; False under papermill, nbmake or a script, where a login would hang."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    # JupyterLab says with each cell that it can ask the user for input; papermill and nbmake say that they cannot
    return bool(kernel) and bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


def needs_hub(config: RunConfig) -> list[str]:
    """What of the run comes from or goes to the hub: any of "model", "data set", "push"."""
    needs = {
        "model": local_path(config.model_id) is None and resolve_model(config.model_id) == config.model_id,
        "data set": local_path(config.dataset_id) is None,
        "push": config.push != "none",
    }
    return [name for name, needed in needs.items() if needed]


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
