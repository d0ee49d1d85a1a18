"""What a push sends, what it replaces on the hub, and what speaks against it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from helpers.evaluate.evaluation import merged_files
from helpers.evaluate.gate import SHIP, decide
from helpers.files import read_json, sha256
from helpers.merge.report import MergeReport
from helpers.model.adapter import refuse_alone, refuse_untrained
from helpers.model.lora import check_adapter
from helpers.runs import RunDir
from helpers.show.verdict import Verdict
from helpers.show.words import _

# Files that programs load by name or ending: an old one beside new weights is loaded instead of them, or with them.
LOADED = re.compile(
    r"[^/]*\.(safetensors|index\.json)|(pytorch_model[^/]*|adapter_model)\.bin|adapter_config\.json|chat_template\.[^/]*",
    re.I,
)
MANIFEST = "qlora_files"  # on the model card: the names of all files of the push
RESULTS = ".eval_results/"  # hidden, and goes along: the hub reads results there


@dataclass(frozen=True)
class Push:
    """One folder and the hub repository it goes to."""

    what: str  # "adapter" or "merged"
    folder: Path
    repo: str
    message: str  # of the commit


def files_to_push(folder: Path) -> dict[str, Path]:
    """Name in the repository -> file: none that is hidden, and no GGUF, which is another form of the model."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = re.search(r"(^|/)\.", name.removeprefix(RESULTS))
        if path.is_file() and not hidden and path.suffix.lower() != ".gguf":
            files[name] = path
    return files


def left_over(there: list[str], files: dict[str, Path], written: list[str]) -> tuple[list[str], list[str]]:
    """Of the files `there` that are not of this push: (those that go, those that stay), by name.

    What an earlier push wrote goes (`written`, from its card), and what would be loaded instead of this push's."""
    others = sorted(set(there) - files.keys() - {".gitattributes"})
    gone = [name for name in others if name in written or LOADED.fullmatch(name)]
    return gone, [name for name in others if name not in gone]


def incomplete(run: RunDir, push: Push) -> list[str]:
    """What the folder lacks so that nobody could use it, a sentence each; [] if nothing. No setting overrides it."""
    reasons, name, tokenizer = [], push.folder.name, push.folder / "tokenizer_config.json"
    try:
        check_adapter(run.adapter)
        refuse_untrained(run.adapter)
        if push.what == "adapter":
            refuse_alone(run.stored_config())
    except (FileNotFoundError, ValueError) as error:
        reasons.append(str(error))
    if push.what == "merged" and not list(push.folder.glob("*.safetensors")):
        reasons.append(_("The merged folder holds no weights: run the merge cells first."))
    if not tokenizer.exists():
        reasons.append(_("The tokenizer is missing in {folder}/.").format(folder=name))
    elif not (push.folder / "chat_template.jinja").exists() and not read_json(tokenizer).get("chat_template"):
        sentence = _("The tokenizer in {folder}/ has no chat template, so others would ask it wrongly.")
        reasons.append(sentence.format(folder=name))
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
    report = MergeReport.read(run.merge_report)
    if report.verdict is Verdict.RED:
        reasons.append(_("The merge report is red."))
    if {path.name: sha256(path) for path in push.folder.glob("*.safetensors")} != merged_files(run):
        reasons.append(_("The merge report is of other weights than merged/ holds: run 05_merge_and_push.ipynb again."))
    return reasons
