"""What speaks against a push: a folder that is not complete, a merge report that is red, missing, or of other weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from helpers.evaluate.gate import SHIP, decide
from helpers.files import read_json, sha256
from helpers.merge.report import MergeReport
from helpers.runs import RunDir
from helpers.show.verdict import Verdict
from helpers.show.words import _


@dataclass(frozen=True)
class Push:
    """One folder and the hub repository it goes to."""

    what: str  # "adapter" or "merged"
    folder: Path
    repo: str
    message: str  # of the commit


def incomplete(run: RunDir, push: Push) -> list[str]:
    """What the folder lacks so that nobody could use it, one sentence each; [] when nothing. No setting overrides it."""
    from helpers.model.adapter import refuse_untrained
    from helpers.model.lora import check_adapter

    reasons = []
    try:
        check_adapter(run.adapter)
        refuse_untrained(run.adapter)
    except (FileNotFoundError, ValueError) as error:
        reasons.append(str(error))
    if push.what == "merged" and not list(push.folder.glob("*.safetensors")):
        reasons.append(_("The merged folder holds no weights: run the merge cells first."))
    if not (push.folder / "tokenizer_config.json").exists():
        reasons.append(_("The tokenizer is missing in {folder}/.").format(folder=push.folder.name))
    elif not _has_template(push.folder):
        sentence = _("The tokenizer in {folder}/ has no chat template, so others would ask it wrongly.")
        reasons.append(sentence.format(folder=push.folder.name))
    return reasons


def refusals(run: RunDir, push: Push, require: str = "") -> list[str]:
    """What merge report and, with `require`, 06 say against this push, one sentence each; hub_force overrides it."""
    reasons = []
    if require:
        _code, facts = decide(run, require)
        reasons = [fact.sentence for fact in facts if fact.code != SHIP]
    if push.what != "merged":
        return reasons
    if not run.merge_report.exists():
        return [*reasons, _("The merge has no report: run 05_merge_and_push.ipynb from its top.")]
    return reasons + _faults_of_report(MergeReport.read(run.merge_report), push.folder)


def _faults_of_report(report: MergeReport, merged: Path) -> list[str]:
    """A red verdict; weights that are not the ones that were measured."""
    faults = [_("The merge report is red.")] if report.verdict is Verdict.RED else []
    weights = {path.name: path for path in merged.glob("*.safetensors")}
    measured = {name: digest for name, digest in report.files.items() if name.endswith(".safetensors")}
    if {name: sha256(path) for name, path in weights.items()} != measured:
        faults.append(_("The merge report is of other weights than merged/ holds: run 05_merge_and_push.ipynb again."))
    return faults


def _has_template(folder: Path) -> bool:
    settings = read_json(folder / "tokenizer_config.json")
    return bool(settings.get("chat_template")) or (folder / "chat_template.jinja").exists()
