"""How far a run is, in a line: which steps it has behind it, and the way back from a fork."""

from pathlib import Path

from helpers.files import read_json
from helpers.show.verdict import Verdict
from helpers.show.words import _


def state(run) -> str:
    """That of a `RunDir`; "" before 03."""
    verdicts = _report(run.data_report).get("verdicts") or []
    # a report of an older version has `ok` alone
    judged = {row.get("verdict") or (Verdict.GREEN if row.get("ok") else Verdict.RED) for row in verdicts}
    worst = next((verdict for verdict in reversed(Verdict) if verdict in judged), None)
    step, merge = _report(run.trained).get("step"), _report(run.merge_report)
    behind = [
        _("labels {verdict}").format(verdict=_(worst)) if worst else "",
        _("trained to step {step}").format(step=step) if step else "",
        _("merge {verdict}").format(verdict=_(merge["verdict"])) if merge.get("verdict") else "",
        _("compared") if _is_of(merge, run.evaluation) else "",
        _("files for other programs") if _is_of(merge, run.served) else "",
    ]
    steps = " · ".join(filter(None, behind))
    sentences = [_("So far: {steps}.").format(steps=steps)] if steps else []
    if run.parent.exists():
        parent = run.parent.read_text(encoding="utf-8").strip()
        sentences.append(_("A fork of {parent}; choose({parent!r}) leads back.").format(parent=parent))
    return " ".join(sentences)


def _is_of(merge: dict, path: Path) -> bool:
    """Whether evaluation.json or served.json is there, and of the merge of this report; older ones name none."""
    return path.exists() and _report(path).get("merged_files", {}) in ({}, weights_in(merge))


def weights_in(merge: dict) -> dict[str, str]:
    """The SHA-256 of every weight file that a merge report names."""
    return {name: digest for name, digest in merge.get("files", {}).items() if name.endswith(".safetensors")}


def _report(path: Path) -> dict:
    """A report of the run; {} where it is not there, or cannot be read: the notebook that needs it says so."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}
