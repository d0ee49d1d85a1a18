"""Push adapter or merged model to the Hugging Face Hub, and read back what arrived.

Nothing local is changed but the model card (see `card.write_card`). Every refusal is one sentence, said before
the upload.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from helpers.files import read_json, sha256
from helpers.merge.leftovers import MANIFEST, files_to_push, is_loaded, left_over
from helpers.model.hub import hub_status
from helpers.runs import RunDir
from helpers.settings import RunConfig


@dataclass(frozen=True)
class Push:
    """One folder and the hub repository it goes to."""

    what: str  # "adapter" or "merged"
    folder: Path
    repo: str
    message: str  # of the commit


def plan_push(run: RunDir, config: RunConfig) -> list[Push]:
    """What config.push asks for; [] for "none".

    Raises RuntimeError for a missing, refused or read-only token and no network, ValueError for a folder that is not
    complete, or whose merge report speaks against it (see `refusals`) unless config.hub_force, FileExistsError for a name
    that is taken.
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
    if missing := [reason for push in pushes for reason in incomplete(run, push)]:
        raise ValueError(f"Not pushed: {' '.join(missing)}")
    reasons = [reason for push in pushes for reason in refusals(run, push)]
    if reasons and not config.hub_force:
        raise ValueError(f"Not pushed: {' '.join(reasons)} (hub_force=True pushes all the same, and the card says so.)")
    for push in pushes:
        _refuse_taken_name(push, config)
    return pushes


def incomplete(run: RunDir, push: Push) -> list[str]:
    """What the folder lacks so that nobody could use it, one sentence each; [] when nothing. No setting overrides it."""
    from helpers.model.lora import check_adapter

    reasons = []
    try:
        check_adapter(run.adapter)
    except (FileNotFoundError, ValueError) as error:
        reasons.append(str(error))
    if push.what == "merged" and not list(push.folder.glob("*.safetensors")):
        reasons.append("The merged folder holds no weights: run the merge cells first.")
    if not (push.folder / "tokenizer_config.json").exists():
        reasons.append(f"The tokenizer is missing in {push.folder.name}/.")
    elif not _has_template(push.folder):
        reasons.append(f"The tokenizer in {push.folder.name}/ has no chat template, so others would ask it wrongly.")
    return reasons


def refusals(run: RunDir, push: Push) -> list[str]:
    """What the merge report says against this push, one sentence each; [] when it says nothing. hub_force overrides it."""
    if push.what != "merged":
        return []
    if not run.merge_report.exists():
        return ["The merge has no report: run 05_merge_and_push.ipynb from its top."]
    return _faults_of_report(read_json(run.merge_report), push.folder)


def upload(push: Push, config: RunConfig, attempts: int = 4) -> str:
    """Create the repository, put the folder there in one commit, give the commit's id.

    The same commit removes what an earlier push wrote and what others would load instead (see `leftovers.left_over`); what
    somebody put there stays, and is named. (`upload_folder` with hf_xet makes several commits of a large folder.) After a
    broken connection it tries again, and files that arrived are not sent twice.
    """
    import httpx2
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api, files = HfApi(), files_to_push(push.folder)
    for attempt in range(1, attempts + 1):
        try:
            api.create_repo(push.repo, private=config.hub_private, exist_ok=True)
            there = api.repo_info(push.repo)
            names = [file.rfilename for file in there.siblings]
            old, stay = left_over(names, files, _card(push.repo).get(MANIFEST) or [] if "README.md" in names else [])
            added = [CommitOperationAdd(name, path) for name, path in files.items()]
            removed = [CommitOperationDelete(name) for name in old]
            commit = api.create_commit(push.repo, added + removed, commit_message=push.message, parent_commit=there.sha)
            if old:
                print(f"Not of this push, so removed from {push.repo} (its history keeps them): {', '.join(old)}")
            if stay:
                print(f"Not written by this project, so left in {push.repo} as it was: {', '.join(stay)}")
            return commit.oid
        except (httpx2.TransportError, HfHubHTTPError) as error:
            status = getattr(getattr(error, "response", None), "status_code", 500)
            if status < 500 or attempt == attempts:
                raise
            print(f"The connection broke ({type(error).__name__}): attempt {attempt + 1} of {attempts} sends the rest.")
            time.sleep(2**attempt / 2)


def read_back(push: Push, commit: str) -> int:
    """Compare every file of the commit with the local one by hash; the number of files that are equal.

    Raises RuntimeError that names a file that is missing there, differs, or would be loaded instead of this push's.
    """
    from huggingface_hub import HfApi

    files = files_to_push(push.folder)
    found = HfApi().verify_repo_checksums(push.repo, revision=commit, local_dir=push.folder)
    if absent := [name for name in found.extra_paths if name in files]:
        raise RuntimeError(f"{absent[0]} did not arrive in {push.repo}: run the push cell again.")
    if other := [name for name in found.missing_paths if is_loaded(name)]:
        raise RuntimeError(f"{other[0]} is in {push.repo} and not of this push: run the push cell again.")
    if differ := [one["path"] for one in found.mismatches if one["path"] in files]:
        raise RuntimeError(f"{differ[0]} in {push.repo} differs from the local file: run the push cell again.")
    return len(files)


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
    from huggingface_hub import HfApi

    api = HfApi()
    with hub_errors(push):
        if not api.repo_exists(push.repo):
            return
        there = api.repo_info(push.repo)
        files = [file.rfilename for file in there.siblings if file.rfilename != ".gitattributes"]
        known = "README.md" in files and _card(push.repo).get("qlora_run") == config.run_name
    if files and not known:
        raise FileExistsError(f"{push.repo} exists and is not from this run: set QLORA_HUB_REPO to another name.")
    if config.hub_private and not there.private:
        raise FileExistsError(
            f"{push.repo} exists and is public: set QLORA_HUB_PRIVATE=false if all may see it, or QLORA_HUB_REPO to another name."
        )


def _card(repo: str):
    """The data at the head of a repository's model card."""
    from huggingface_hub import ModelCard

    return ModelCard.load(repo).data


def _has_template(folder: Path) -> bool:
    settings = read_json(folder / "tokenizer_config.json")
    return bool(settings.get("chat_template")) or (folder / "chat_template.jinja").exists()
