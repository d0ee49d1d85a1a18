"""May this model be used? An exit code for scripts, with the reasons.

    python -m helpers.evaluate.gate RUN [--require "valid_json >= 0.95, exact >= 0.8"]

0: yes. 1: no. 2: what was measured cannot decide. Without --require, the setting `require` counts. A requirement
holds, or fails, when the whole 95 % interval of the share says so. A proven loss stops it: of knowledge, by the
merge, of the replies.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass

from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.intervals import WORSE, told_count, wilson_interval
from helpers.files import read_json
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.show.words import N_, _

SHIP, STOP, UNDECIDED = 0, 1, 2
WORDS = {SHIP: N_("Use it."), STOP: N_("Do not use it."), UNDECIDED: N_("Not decidable.")}
REQUIREMENT = re.compile(r"(\w+)\s*(>=|<=)\s*(\d*\.?\d+)\s*(%?)")


class BadRequirement(ValueError):
    """A requirement that cannot be read; `text` is it."""

    def __init__(self, text: str):
        self.text = text
        super().__init__(_("{text!r} is no requirement: write check >= 0.9, several with commas.").format(text=text))


@dataclass(frozen=True)
class Reason:
    """One fact of the gate, and what follows from it alone."""

    code: int
    sentence: str


def requirements(text: str) -> list[tuple[str, str, float]]:
    """ "valid_json >= 0.95, exact >= 80%" as (check, sign, share). Raises BadRequirement."""
    wanted = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = REQUIREMENT.fullmatch(part)
        if not match:
            raise BadRequirement(part)
        share = float(match[3]) / (100 if match[4] else 1)
        if share > 1:
            raise BadRequirement(part)
        wanted.append((match[1], match[2], share))
    return wanted


def decide(run: RunDir, require: str = "") -> tuple[int, list[Reason]]:
    """The exit code for `run`, and every reason. Raises BadRequirement."""
    wanted = requirements(require)
    if not run.evaluation.exists():
        return UNDECIDED, [Reason(UNDECIDED, _("Nothing was measured yet: run 06_evaluation.ipynb."))]
    evaluation = Evaluation.read(run)
    model = "merged" if "merged" in evaluation.models else "adapter"
    reasons = [_merge(run), *_losses(evaluation, model), *(_required(evaluation, model, *item) for item in wanted)]
    if wanted and evaluation.stale_checks:
        reasons.append(Reason(UNDECIDED, evaluation.stale_checks))
    codes = {reason.code for reason in reasons}
    return next(code for code in (STOP, UNDECIDED, SHIP) if code in codes), reasons


def _merge(run: RunDir) -> Reason:
    if not run.merge_report.exists():
        return Reason(UNDECIDED, _("The merge was not measured: run 05_merge_and_push.ipynb."))
    verdict = read_json(run.merge_report)["verdict"]
    code = {"green": SHIP, "red": STOP}.get(verdict, UNDECIDED)
    return Reason(code, _("Merge report: {verdict}.").format(verdict=_(verdict)))


def _losses(evaluation: Evaluation, model: str) -> list[Reason]:
    """What was proven to be lost; a loss that is only possible does not stop anybody."""
    sentence = _("{number}: {model} is worse than {other}.")
    losses = [
        sentence.format(number=_(row["number"]), model=row["model"], other=row["against"])
        for row in evaluation.paired
        if row["verdict"] == WORSE
    ]
    parts = evaluation.forgetting.get(model, {}).get("languages", {})
    if lost := [language for language, part in parts.items() if part["verdict"] == WORSE]:
        losses.append(_("General text was lost: {languages}.").format(languages=", ".join(lost)))
    if WORSE in [change["verdict"] for change in evaluation.known.get("changes", ())]:
        losses.append(_("Known answers were lost."))
    return [Reason(STOP, loss) for loss in losses] or [Reason(SHIP, _("No loss is proven."))]


def _required(evaluation: Evaluation, model: str, check: str, sign: str, share: float) -> Reason:
    counted = evaluation.checks.get(check, {})
    if model not in counted or not counted.get("of"):
        sentence = _("{check} was not measured on the {model} model: set `checks` and run 06.")
        return Reason(UNDECIDED, sentence.format(check=check, model=model))
    low, high = wilson_interval(counted[model], counted["of"])
    holds, fails = (low >= share, high < share) if sign == ">=" else (high <= share, low > share)
    told = f"{check} {sign} {share:g}: {told_count(counted[model], counted['of'])}"
    if holds:
        return Reason(SHIP, _("{told}: holds.").format(told=told))
    if fails:
        return Reason(STOP, _("{told}: does not hold.").format(told=told))
    return Reason(UNDECIDED, _("{told}: so few rows cannot tell.").format(told=told))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--require")
    chosen = parser.parse_args()
    run = RunDir(runs_root() / chosen.run)
    if not run.config_json.exists():
        parser.error(_("There is no run {run} in {folder}.").format(run=chosen.run, folder=runs_root()))
    try:
        code, reasons = decide(run, run.stored_config().require if chosen.require is None else chosen.require)
    except BadRequirement as error:
        parser.error(str(error))
    print(_(WORDS[code]), *(f"- {reason.sentence}" for reason in reasons), sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
