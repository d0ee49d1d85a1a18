"""May this model be used? An exit code for scripts, with the reasons.

    .venv/bin/python -m helpers.evaluate.gate RUN [--require "valid_json >= 0.95, exact >= 0.8"] [--against RUN]

0: yes. 1: no, because of what is proven. 2: what was measured cannot decide; it says how many rows or seeds would.
64: the command cannot be read (EX_USAGE of sysexits.h), so that no script takes a slip of the pen for a 2.
Without --require, the setting `require` counts. A requirement has to hold, for each file of 07 as well; held-out rows
have to be a proven gain over the base (where several seeds were trained, over them too); no loss may be proven: by the
merge, in a served file, of general text, known answers or replies, or against another run. All share 5 %: what you ask
for by name (checks with a threshold, another run) one half of it, the rest the other (Bonferroni with weights;
Rosenthal & Rubin, 1983). See facts.py.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

from helpers.evaluate import facts
from helpers.evaluate.counts import judge_counts
from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.facts import SHIP, STOP, UNDECIDED, Reason
from helpers.evaluate.forgetting import LANGUAGES
from helpers.evaluate.intervals import NLL, WORSE, NothingMeasured, paired_difference
from helpers.evaluate.rivals import against, seeds_of
from helpers.evaluate.served import Served
from helpers.fields import BadSetting
from helpers.files import DAMAGED, read_json
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.show.words import N_, _

WORDS = {SHIP: N_("Use it."), STOP: N_("Do not use it."), UNDECIDED: N_("Not decidable.")}
REQUIREMENT = re.compile(r"(\w+)\s*(>=|<=)\s*(\d*\.?\d+)\s*(%?)")
Fact = Callable[[int], Reason]  # of how many it is one


class BadRequirement(ValueError):
    """A requirement that cannot be read; `text` is it."""

    def __init__(self, text: str):
        self.text = text
        super().__init__(_("{text!r} is no requirement: write check >= 0.9, several with commas.").format(text=text))


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


def decide(run: RunDir, require: str = "", other: RunDir | None = None) -> tuple[int, list[Reason]]:
    """The exit code for `run`, and every reason. Raises BadRequirement. What cannot be read decides nothing."""
    wanted = requirements(require)
    if not run.evaluation.exists():
        return UNDECIDED, [Reason(UNDECIDED, _("Nothing was measured yet: run 06_evaluation.ipynb."))]
    try:
        return _decided(run, wanted, other)
    except DAMAGED as error:
        sentence = _("A file of the run, or of one beside it, cannot be read ({error}): run the notebook that made it.")
        return UNDECIDED, [Reason(UNDECIDED, sentence.format(error=f"{type(error).__name__}: {error}"))]


def _decided(run: RunDir, wanted: list, other: RunDir | None) -> tuple[int, list[Reason]]:
    evaluation, served = Evaluation.read(run), Served.read(run)
    if stale := evaluation.stale(run):
        return UNDECIDED, [Reason(UNDECIDED, stale)]
    found = [partial(_merge, run), *_measured(run, evaluation), *_files(served)]
    asked = [*_required(evaluation, served, wanted), *([partial(_rival, run, other)] if other else [])]
    reasons = [fact(len(found) * (2 if asked else 1)) for fact in found] + [fact(2 * len(asked)) for fact in asked]
    if not wanted and evaluation.checks:
        reasons.append(_not_asked(evaluation))
    if wanted and evaluation.stale_checks:
        reasons.append(Reason(UNDECIDED, evaluation.stale_checks))
    codes = {reason.code for reason in reasons}
    return next(code for code in (STOP, UNDECIDED, SHIP) if code in codes), reasons


def _not_asked(evaluation: Evaluation) -> Reason:
    """The check that is passed least, where none was required: it is told, and decides nothing."""
    name, counted = min(evaluation.checks.items(), key=lambda item: item[1].get(_model(evaluation), 0))
    told = {who: counted[who] for who in (_model(evaluation), "baseline") if who in counted}
    told = ", ".join(f"{who} {passed}" for who, passed in told.items())
    sentence = _("No check was required, so none decides; {check} of {of}: {told}. `require` asks for one.")
    return Reason(SHIP, sentence.format(check=name, of=counted["of"], told=told))


def _merge(run: RunDir, count: int) -> Reason:
    if not run.merge_report.exists():
        return Reason(UNDECIDED, _("The merge was not measured: run 05_merge_and_push.ipynb."))
    report = read_json(run.merge_report)
    verdict, measured = report["verdict"], report.get("measured", {}).get(report.get("chosen"))
    if verdict == "red" and measured and facts.verdict_of(measured["against_adapter"], NLL, count) != WORSE:
        verdict = "unclear"  # as one of so many facts
    code = {"green": SHIP, "red": STOP}.get(verdict, UNDECIDED)
    return Reason(code, _("Merge report: {verdict}.").format(verdict=_(verdict)))


def _measured(run: RunDir, evaluation: Evaluation) -> Iterator[Fact]:
    """Held-out rows have to be a gain of the adapter over the base; nothing may be a loss."""
    if not any(_is_gain(row) for row in evaluation.paired):
        sentence = _("The adapter was not compared with the base on held-out rows: run 06_evaluation.ipynb.")
        yield lambda _count: Reason(UNDECIDED, sentence)
    for row in evaluation.paired:
        what = _("{number}, {model} against {other}")
        what = what.format(number=_(row["number"]), model=row["model"], other=row["against"])
        if _is_gain(row):
            base = evaluation.models["base"].get("nll")
            seeds = [nll - base for nll in seeds_of(run)] if base is not None else []
            yield partial(facts.gain, row, what, seeds=seeds)
        else:
            yield partial(facts.harm, row, what, row["number"])
    for language, part in evaluation.forgetting.get(_model(evaluation), {}).get("languages", {}).items():
        yield partial(facts.harm, part, _("General text, {language}").format(language=_(LANGUAGES[language])), NLL)
    for change in evaluation.known.get("changes", ()):
        yield partial(_known, change, evaluation.known.get("of", 0))


def _is_gain(row: dict) -> bool:
    return (row["number"], row["model"], row["against"]) == (NLL, "adapter", "base")


def _model(evaluation: Evaluation) -> str:
    """The model that would be used."""
    return "merged" if "merged" in evaluation.models else "adapter"


def _known(change: dict, of: int, count: int) -> Reason:
    verdict = change["verdict"]
    if "won" in change:
        verdict = judge_counts(len(change["won"]), len(change["lost"]), of, count)
    if verdict == WORSE:
        return Reason(STOP, _("Known answers were lost."))
    return Reason(SHIP, _("Known answers, {model}: no loss is proven.").format(model=change["model"]))


def _required(evaluation: Evaluation, served: Served | None, wanted: list) -> Iterator[Fact]:
    """The checks with a threshold: of the model, and of every file that 07 wrote."""
    measured = [(_model(evaluation), evaluation.checks)]
    measured += [(file, served.checks()) for file in served.files] if served else []
    for model, checks in measured:
        yield from (partial(facts.required, checks, model, check) for check in wanted)


def _files(served: Served | None) -> Iterator[Fact]:
    """The NLL of every file that 07 wrote, against the merged model's."""
    if not (served and (merged := served.merged.get("by_row"))):
        return
    for file, row in served.files.items():
        if "by_row" in row:
            yield partial(_file, file, merged, row["by_row"])


def _file(file: str, merged: dict, row: dict, count: int) -> Reason:
    gap = paired_difference(merged["nll"], row["nll"], merged["tokens"], count)
    return facts.harm(gap, _("{file} against the merged model").format(file=file), NLL, count)


def _rival(run: RunDir, other: RunDir, count: int) -> Reason:
    """A loss has to be proven at its share, a gain or no difference at 95 %: see facts.py."""
    what = f"{run.path.name} − {other.path.name}"
    try:
        gaps = against(run, other, count), against(run, other, 1)
    except (NothingMeasured, FileNotFoundError) as error:  # no row in common, or not trained yet
        return Reason(UNDECIDED, f"{what}: {error}")
    return facts.rival(*gaps, what, count)


class Asking(argparse.ArgumentParser):
    """argparse's own code for a command that cannot be read is 2, which means "not decidable" here."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        super().exit(os.EX_USAGE if status else 0, message)


def main() -> int:
    """The command line."""
    parser = Asking(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--require")
    parser.add_argument("--against", metavar="RUN")
    chosen = parser.parse_args()
    run = RunDir(runs_root() / chosen.run)
    other = RunDir(runs_root() / chosen.against) if chosen.against else None
    for one in (run, other or run):
        if not one.config_json.exists():
            parser.error(_("There is no run {run} in {folder}.").format(run=one.path.name, folder=runs_root()))
    try:
        code, reasons = decide(run, run.stored_config().require if chosen.require is None else chosen.require, other)
    except (BadRequirement, BadSetting) as error:
        parser.error(str(error))
    print(verdict_told(code, reasons))
    return code


def verdict_told(code: int, reasons: list[Reason]) -> str:
    """The answer, then what speaks against it, then the rest."""
    ordered = sorted(reasons, key=lambda reason: (reason.code != code, reason.code == SHIP))
    return "\n".join([_(WORDS[code]), *(f"- {reason.sentence}" for reason in ordered)])


if __name__ == "__main__":
    sys.exit(main())
