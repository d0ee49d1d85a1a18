"""Push adapter or merged model to the Hugging Face Hub, and read back what arrived.

Nothing local is changed but the model card (see `card.write_card`). Every refusal is one sentence, said before
the upload.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from helpers.config import RunConfig
from helpers.files import sha256
from helpers.model.hub import hub_status
from helpers.runs import RunDir


@dataclass(frozen=True)
class Push:
    """One folder and the hub repository it goes to."""

    what: str  # "adapter" or "merged"
    folder: Path
    repo: str
    message: str  # of the commit


def plan_push(run: RunDir, config: RunConfig) -> list[Push]:
    """What config.push asks for; [] for "none".

    Raises RuntimeError for a missing, refused or read-only token and no network, ValueError for something that must
    not be pushed (see `refusals`) unless config.hub_force, FileExistsError for a name that is taken.
    """
    if config.push == "none":
        return []
    from huggingface_hub import HfApi

    hub_status(config)  # raises for no token, a refused or read-only one, no network
    kinds = ["adapter", "merged"] if config.push == "both" else [config.push]
    repo = config.hub_repo or f"{HfApi().whoami()['name']}/{config.run_name}"
    pushes = []
    for what in kinds:
        folder = run.adapter if what == "adapter" else run.merged
        name = f"{repo}-adapter" if what == "adapter" and len(kinds) == 2 else repo
        pushes.append(Push(what, folder, name, f"Add the {what} of run {config.run_name}"))
    reasons = [reason for push in pushes for reason in refusals(run, push)]
    if reasons and not config.hub_force:
        raise ValueError(f"Not pushed: {' '.join(reasons)} (hub_force=True pushes all the same, and the card says so.)")
    for push in pushes:
        _refuse_taken_name(push, config)
    return pushes


def refusals(run: RunDir, push: Push) -> list[str]:
    """Why this folder should not be seen by others, one sentence each; [] when it may be pushed."""
    from helpers.model.lora import check_adapter

    reasons = []
    try:
        check_adapter(run.adapter)
    except (FileNotFoundError, ValueError) as error:
        reasons.append(str(error))
    if push.what == "merged":
        if not list(push.folder.glob("*.safetensors")):
            reasons.append("The merged folder holds no weights: run the merge cells first.")
        elif not run.merge_report.exists():
            reasons.append("The merge has no report: run 05_merge_and_push.ipynb from its top.")
        else:
            reasons += _faults_of_report(json.loads(run.merge_report.read_text(encoding="utf-8")), push.folder)
    if not (push.folder / "tokenizer_config.json").exists():
        reasons.append(f"The tokenizer is missing in {push.folder.name}/.")
    elif not _has_template(push.folder):
        reasons.append(f"The tokenizer in {push.folder.name}/ has no chat template, so others would ask it wrongly.")
    return reasons


def upload(push: Push, config: RunConfig, attempts: int = 4) -> str:
    """Create the repository, upload the folder in one commit, give its commit id.

    After a broken connection it tries again, and files that arrived are not sent twice.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    for attempt in range(1, attempts + 1):
        try:
            api.create_repo(push.repo, private=config.hub_private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=push.repo, folder_path=push.folder, commit_message=push.message, ignore_patterns=[".*"]
            )
            return commit.oid
        except (httpx2.TransportError, HfHubHTTPError) as error:
            status = getattr(getattr(error, "response", None), "status_code", 500)
            if status < 500 or attempt == attempts:
                raise
            print(f"The connection broke ({type(error).__name__}): attempt {attempt + 1} of {attempts} sends the rest.")
            time.sleep(2**attempt / 2)


def read_back(push: Push, commit: str) -> int:
    """Compare every file of the commit with the local one by hash; the number of files that are equal.

    Raises RuntimeError that names a file that is missing there or differs.
    """
    from huggingface_hub import HfApi

    found = HfApi().verify_repo_checksums(push.repo, revision=commit, local_dir=push.folder)
    if absent := [name for name in found.extra_paths if not Path(name).name.startswith(".")]:
        raise RuntimeError(f"{absent[0]} did not arrive in {push.repo}: run the push cell again.")
    if found.mismatches:
        name = found.mismatches[0]["path"]
        raise RuntimeError(f"{name} in {push.repo} differs from the local file: run the push cell again.")
    return found.checked_count


@contextlib.contextmanager
def hub_errors(push: Push):
    """Turn the hub's errors inside the block into one sentence each (RuntimeError); tokens never appear in it."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    kept = f"Nothing local is lost: {push.what}/ is as it was."
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        told = {
            401: "the token is wrong or expired: make a new one and set HF_TOKEN",
            403: f"your token may not write to {push.repo}: use a token with write access, or set QLORA_HUB_REPO",
            404: f"{push.repo} is not there, or your token may not see it",
        }.get(status, "try again later")
        raise RuntimeError(f"The hub answered {status}: {told}. {kept}") from None
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        raise RuntimeError(
            f"The hub cannot be reached ({type(error).__name__}): check the network and run the cell again. {kept}"
        ) from None


def _faults_of_report(report: dict, merged: Path) -> list[str]:
    """A red verdict; weights that are not the ones that were measured."""
    faults = ["The merge report is red."] if report["verdict"] == "red" else []
    weights = {path.name: path for path in merged.glob("*.safetensors")}
    measured = {name: digest for name, digest in report["files"].items() if name.endswith(".safetensors")}
    if {name: sha256(path) for name, path in weights.items()} != measured:
        faults.append("The merge report is of other weights than merged/ holds: run 05_merge_and_push.ipynb again.")
    return faults


def _refuse_taken_name(push: Push, config: RunConfig) -> None:
    """Raises FileExistsError when the repository holds something else than an earlier push of this run, or is public."""
    from huggingface_hub import HfApi, ModelCard

    api = HfApi()
    with hub_errors(push):
        if config.hub_force or not api.repo_exists(push.repo):
            return
        there = api.repo_info(push.repo)
        files = [file.rfilename for file in there.siblings if file.rfilename != ".gitattributes"]
        known = "README.md" in files and ModelCard.load(push.repo).data.get("qlora_run") == config.run_name
    if files and not known:
        raise FileExistsError(
            f"{push.repo} exists and is not from this run: set QLORA_HUB_REPO to another name (hub_force=True adds to it)."
        )
    if config.hub_private and not there.private:
        raise FileExistsError(
            f"{push.repo} exists and is public: set QLORA_HUB_PRIVATE=false if all may see it, or QLORA_HUB_REPO to another name."
        )


def _has_template(folder: Path) -> bool:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    return bool(settings.get("chat_template")) or (folder / "chat_template.jinja").exists()
