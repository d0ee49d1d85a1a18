"""Push adapter or merged model to the Hugging Face Hub, and read back what arrived. Refusals come before the upload."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection

import httpx2
import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from helpers.merge.gate import LOADED, MANIFEST, Push, files_to_push, incomplete, left_over, refusals
from helpers.model.hub import hub_status
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import N_, _

WAIT = 1.0  # seconds before the second attempt, and twice as many before each further one
LATER = N_("try again later")
FULL = N_("the storage of the account is full: delete what you no longer need, or ask the hub for more ({words})")
ANSWERS = {
    401: N_("the token is wrong or expired: make a new one and set HF_TOKEN"),
    403: N_("your token may not write to {repo}: use a token with write access, or set QLORA_HUB_REPO"),
    404: N_("{repo} is not there, or your token may not see it"),
}


def plan_push(run: RunDir, config: RunConfig) -> list[Push]:
    """What config.push asks for; [] for "none".

    Raises RuntimeError for a token that will not do and no network, ValueError for a folder that is not complete, or
    refused (`refusals`) without config.hub_force, FileExistsError for a name that is taken."""
    if config.push == "none":
        return []
    hub_status(config)  # raises for no token, a refused or read-only one, no network
    repo = config.hub_repo or config.run_name
    if "/" not in repo:
        repo = f"{HfApi().whoami()['name']}/{repo}"
    second = f"{repo}-adapter" if config.push == "both" else repo
    adapter = Push("adapter", run.adapter, second, f"Add the adapter of run {config.run_name}")
    merged = Push("merged", run.merged, repo, f"Add the merged of run {config.run_name}")
    pushes = {"adapter": [adapter], "merged": [merged], "both": [adapter, merged]}[config.push]
    _require_fit(run, config, pushes)
    for push in pushes:
        check_repo_name(push.repo)
        _refuse_taken_name(push, config)
    return pushes


def _require_fit(run: RunDir, config: RunConfig, pushes: list[Push]) -> None:
    missing = [reason for push in pushes for reason in incomplete(run, push)]
    if missing:
        raise ValueError(_("Not pushed: {reasons}").format(reasons=" ".join(missing)))
    against = [reason for push in pushes for reason in refusals(run, push, config.require)]
    if against and not config.hub_force:
        sentence = _("Not pushed: {reasons} (hub_force=True pushes all the same, and the card says so.)")
        raise ValueError(sentence.format(reasons=" ".join(dict.fromkeys(against))))


def upload(push: Push, config: RunConfig, attempts: int = 4) -> str:
    """Create the repository, put the folder there in one commit, give its id; a broken connection is tried again."""
    for attempt in range(1, attempts + 1):
        try:
            return _commit(push, config)
        except (httpx2.TransportError, HfHubHTTPError) as error:
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else 500
            if status < 500 or attempt == attempts:
                raise
            sentence = _("The connection broke ({error}): attempt {number} of {attempts} sends the rest.")
            print(sentence.format(error=type(error).__name__, number=attempt + 1, attempts=attempts))
            time.sleep(WAIT * 2 ** (attempt - 1))
    raise ValueError(f"attempts={attempts}")


def _commit(push: Push, config: RunConfig) -> str:
    """One attempt; files that arrived in an earlier one are not sent twice. What goes and stays (`left_over`) is named.

    (`upload_folder` with hf_xet makes several commits of a large folder.)"""
    api, files = HfApi(), files_to_push(push.folder)
    api.create_repo(push.repo, private=config.hub_private, exist_ok=True)
    there = api.model_info(push.repo)
    names = [file.rfilename for file in there.siblings or ()]
    old, stay = left_over(names, files, _card(push.repo, names).get(MANIFEST) or [])
    changes = [CommitOperationAdd(name, path) for name, path in files.items()]
    changes += [CommitOperationDelete(name) for name in old]
    commit = api.create_commit(push.repo, changes, commit_message=push.message, parent_commit=there.sha)
    for some, sentence in (
        (old, N_("Not of this push, so removed from {repo} (its history keeps them): {files}")),
        (stay, N_("Not written by this project, so left in {repo} as it was: {files}")),
    ):
        if some:
            print(_(sentence).format(repo=push.repo, files=", ".join(some)))
    return commit.oid


def read_back(push: Push, commit: str) -> int:
    """The number of files of the commit that have the local one's hash.

    Raises RuntimeError that names a file that is missing there, differs, or would be loaded instead of this push's."""
    files = files_to_push(push.folder)
    found = HfApi().verify_repo_checksums(push.repo, revision=commit, local_dir=push.folder)
    faults = {name: N_("{file} did not arrive in {repo}: run the push cell again.") for name in found.extra_paths}
    for file in found.mismatches:
        faults[file["path"]] = N_("{file} in {repo} differs from the local file: run the push cell again.")
    faults = {name: sentence for name, sentence in faults.items() if name in files}
    for name in filter(LOADED.fullmatch, found.missing_paths):
        faults[name] = N_("{file} is in {repo} and not of this push: run the push cell again.")
    for name, sentence in faults.items():
        raise RuntimeError(_(sentence).format(file=name, repo=push.repo))
    return len(files)


@contextlib.contextmanager
def hub_errors(push: Push):
    """Turn the hub's errors inside the block into one sentence each (RuntimeError); tokens never appear in it."""
    kept = _("Nothing local is lost: {folder}/ is as it was.").format(folder=push.what)
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        words = " ".join((error.server_message or "").split())
        full = status == 403 and "storage" in words.lower()  # not only a token is answered so
        reason = _(FULL if full else ANSWERS.get(status, LATER)).format(repo=push.repo, words=words)
        sentence = _("The hub answered {status}: {reason}. {kept}")
        raise RuntimeError(sentence.format(status=status, reason=reason, kept=kept)) from None
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        sentence = _("The hub cannot be reached ({error}): check the network and run the cell again. {kept}")
        raise RuntimeError(sentence.format(error=type(error).__name__, kept=kept)) from None


def _refuse_taken_name(push: Push, config: RunConfig) -> None:
    """Raises FileExistsError when the repository is public, or holds what is no earlier push of this run."""
    api = HfApi()
    with hub_errors(push):
        if not api.repo_exists(push.repo):
            return
        there = api.model_info(push.repo)
        names = {file.rfilename for file in there.siblings or ()} - {".gitattributes"}
        known = _card(push.repo, names).get("qlora_run") == config.run_name
    if names and not known:
        sentence = _("{repo} exists and is not from this run: set QLORA_HUB_REPO to another name.")
        raise FileExistsError(sentence.format(repo=push.repo))
    if config.hub_private and not there.private:
        sentence = _(
            "{repo} exists and is public: set QLORA_HUB_PRIVATE=false if all may see it, or QLORA_HUB_REPO to another "
            "name."
        )
        raise FileExistsError(sentence.format(repo=push.repo))


def check_repo_name(repo: str) -> None:
    """Raises ValueError for a name that the hub would refuse, before anything is created there."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        sentence = _("{repo} cannot be the name of a repository: {reason} Set QLORA_HUB_REPO to another one.")
        raise ValueError(sentence.format(repo=repr(repo), reason=str(error).splitlines()[0])) from None


def _card(repo: str, names: Collection[str]) -> dict:
    """The data at the head of a repository's model card; {} where `names`, its files, have none that can be read."""
    if "README.md" not in names:
        return {}
    try:
        return ModelCard.load(repo, ignore_metadata_errors=True).data.to_dict()
    except OSError:  # the hub did not give it
        raise
    except (yaml.YAMLError, ValueError):
        return {}
