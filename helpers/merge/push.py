"""Push adapter or merged model to the Hugging Face Hub, and read back what arrived.

Nothing local is changed but the model card (see `card.write_card`). Every refusal is one sentence, said before
the upload.
"""

from __future__ import annotations

import contextlib
import time

from helpers.merge.gate import Push, incomplete, refusals
from helpers.merge.leftovers import MANIFEST, files_to_push, is_loaded, left_over
from helpers.model.hub import hub_status
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import N_, _

ANSWERS = {
    401: N_("the token is wrong or expired: make a new one and set HF_TOKEN"),
    403: N_("your token may not write to {repo}: use a token with write access, or set QLORA_HUB_REPO"),
    404: N_("{repo} is not there, or your token may not see it"),
}


def plan_push(run: RunDir, config: RunConfig) -> list[Push]:
    """What config.push asks for; [] for "none".

    Raises RuntimeError for a missing, refused or read-only token and no network, ValueError for a folder that is not
    complete, or that merge report or config.require speak against (see `refusals`) unless config.hub_force, FileExistsError for a name
    that is taken.
    """
    if config.push == "none":
        return []
    from huggingface_hub import HfApi

    hub_status(config)  # raises for no token, a refused or read-only one, no network
    kinds = ["adapter", "merged"] if config.push == "both" else [config.push]
    repo = config.hub_repo or config.run_name
    repo = repo if "/" in repo else f"{HfApi().whoami()['name']}/{repo}"
    pushes = []
    for what in kinds:
        folder = run.adapter if what == "adapter" else run.merged
        name = f"{repo}-adapter" if what == "adapter" and len(kinds) == 2 else repo
        pushes.append(Push(what, folder, name, f"Add the {what} of run {config.run_name}"))
    if missing := [reason for push in pushes for reason in incomplete(run, push)]:
        raise ValueError(_("Not pushed: {reasons}").format(reasons=" ".join(missing)))
    reasons = dict.fromkeys(reason for push in pushes for reason in refusals(run, push, config.require))
    if reasons and not config.hub_force:
        sentence = _("Not pushed: {reasons} (hub_force=True pushes all the same, and the card says so.)")
        raise ValueError(sentence.format(reasons=" ".join(reasons)))
    for push in pushes:
        check_repo_name(push.repo)
        _refuse_taken_name(push, config)
    return pushes


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
                sentence = _("Not of this push, so removed from {repo} (its history keeps them): {files}")
                print(sentence.format(repo=push.repo, files=", ".join(old)))
            if stay:
                sentence = _("Not written by this project, so left in {repo} as it was: {files}")
                print(sentence.format(repo=push.repo, files=", ".join(stay)))
            return commit.oid
        except (httpx2.TransportError, HfHubHTTPError) as error:
            status = getattr(getattr(error, "response", None), "status_code", 500)
            if status < 500 or attempt == attempts:
                raise
            sentence = _("The connection broke ({error}): attempt {number} of {attempts} sends the rest.")
            print(sentence.format(error=type(error).__name__, number=attempt + 1, attempts=attempts))
            time.sleep(2**attempt / 2)


def read_back(push: Push, commit: str) -> int:
    """Compare every file of the commit with the local one by hash; the number of files that are equal.

    Raises RuntimeError that names a file that is missing there, differs, or would be loaded instead of this push's.
    """
    from huggingface_hub import HfApi

    files = files_to_push(push.folder)
    found = HfApi().verify_repo_checksums(push.repo, revision=commit, local_dir=push.folder)
    absent = [name for name in found.extra_paths if name in files]
    other = [name for name in found.missing_paths if is_loaded(name)]
    differ = [file["path"] for file in found.mismatches if file["path"] in files]
    for names, sentence in (
        (absent, N_("{file} did not arrive in {repo}: run the push cell again.")),
        (other, N_("{file} is in {repo} and not of this push: run the push cell again.")),
        (differ, N_("{file} in {repo} differs from the local file: run the push cell again.")),
    ):
        if names:
            raise RuntimeError(_(sentence).format(file=names[0], repo=push.repo))
    return len(files)


@contextlib.contextmanager
def hub_errors(push: Push):
    """Turn the hub's errors inside the block into one sentence each (RuntimeError); tokens never appear in it."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    kept = _("Nothing local is lost: {folder}/ is as it was.").format(folder=push.what)
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = _(ANSWERS.get(status, N_("try again later"))).format(repo=push.repo)
        sentence = _("The hub answered {status}: {reason}. {kept}")
        raise RuntimeError(sentence.format(status=status, reason=reason, kept=kept)) from None
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        sentence = _("The hub cannot be reached ({error}): check the network and run the cell again. {kept}")
        raise RuntimeError(sentence.format(error=type(error).__name__, kept=kept)) from None


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
        sentence = _("{repo} exists and is not from this run: set QLORA_HUB_REPO to another name.")
        raise FileExistsError(sentence.format(repo=push.repo))
    if config.hub_private and not there.private:
        sentence = _(
            "{repo} exists and is public: set QLORA_HUB_PRIVATE=false if all may see it, or QLORA_HUB_REPO to another name."
        )
        raise FileExistsError(sentence.format(repo=push.repo))


def check_repo_name(repo: str) -> None:
    """Raises ValueError for a name that the hub would refuse, before anything is created there."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        sentence = _("{repo} cannot be the name of a repository: {reason} Set QLORA_HUB_REPO to another one.")
        raise ValueError(sentence.format(repo=repr(repo), reason=str(error).splitlines()[0])) from None


def _card(repo: str):
    """The data at the head of a repository's model card."""
    from huggingface_hub import ModelCard

    return ModelCard.load(repo).data
