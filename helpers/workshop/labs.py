"""The labs: something is broken in a few lines, `check` says what is still wrong. The run's labs/ counts the tries."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from helpers.files import read_json, write_json
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.series import chosen, run_notebooks
from helpers.settings import RunConfig
from helpers.show.tables import Answer
from helpers.show.words import _
from helpers.workshop import lab_answers, lab_trials
from helpers.workshop.fence import Fence, whole
from helpers.workshop.tasks import answered

CHECKS = [
    lab_answers.labels, lab_answers.fits, lab_answers.copies, lab_answers.checkpoint, lab_answers.merge,
    lab_answers.whose, lab_answers.prompt, lab_trials.vanished, lab_trials.leaked, lab_trials.moves, lab_trials.luck,
    lab_trials.served, lab_trials.gamed, lab_trials.alone, lab_trials.stranger,
]  # fmt: skip
LABS = {f"lab{number}": check for number, check in enumerate(CHECKS, start=1)}
LAB_RUN = "labs"  # the small run that the labs make where 04 has not finished: nobody's own
PLACES = ("QLORA_RUNS_DIR", "QLORA_CACHE_DIR", "QLORA_LANG")  # of the environment, what the small run takes over
SMALL = {"QLORA_RUN_NAME": LAB_RUN, "QLORA_MAX_STEPS": "8", "QLORA_SAVE_STEPS": "4"}


def lab_run() -> RunDir:
    """The chosen run where 04 has finished it and its checkpoints, which a lab takes, are there; else a small one: 8
    steps of tiny, on the first lab, under a minute."""
    run = RunDir(runs_root() / RunConfig.load().run_name)
    if run.trained.exists() and any(run.trainer.glob("checkpoint-*")):
        return run
    run = RunDir(runs_root() / LAB_RUN)
    if not run.trained.exists():
        sentence = _(
            "No finished training with its checkpoints in {folder}: a small one is made for the labs (under a minute)."
        )
        print(sentence.format(folder=runs_root()))
        before = dict(os.environ)
        own = {name: value for name, value in before.items() if not name.startswith("QLORA_") or name in PLACES}
        try:
            os.environ.clear()
            os.environ.update(own | SMALL)
            run_notebooks(chosen(["03", "04"]), "tiny")
        finally:
            os.environ.clear()
            os.environ.update(before)
    return run


def check(lab: str, run: RunDir, answer=..., **seen) -> Answer:
    """Is `answer` right? `seen` is what the page has besides. Raises ValueError for an unknown lab alone."""
    if answer is ... and lab in LABS:
        return Answer(False, _("The repair is still to be written: put it in the place of the three dots (...)."))
    found = answered(LABS, lab, run, answer, **seen)
    try:
        _count(run, lab, found)
    except OSError as error:  # a full disk takes nobody's solution away
        sentence = _("{sentence} (This try could not be written down: {reason}.)")
        return Answer(found.solved, sentence.format(sentence=found.sentence, reason=error.strerror))
    return found


def _count(run: RunDir, lab: str, found: Answer) -> None:
    """One try more; once solved it stays solved."""
    before = Fence(run.labs, {}).record(f"{lab}.json")
    solved, tries = before.get("solved") is True or found.solved, whole(before.get("tries")) or 0
    run.labs.mkdir(exist_ok=True)
    now = {"solved": solved, "tries": tries + 1, "sentence": found.sentence, "at": time.time()}
    write_json(run.labs / f"{lab}.json", now)


def earlier_twin(checkpoint: Path) -> Path:
    """A copy of a run's only checkpoint that plays the save before it, at step 0."""
    from helpers.train.checkpoints import mark_complete

    twin = checkpoint.with_name("checkpoint-0")
    shutil.copytree(checkpoint, twin)
    state = twin / "trainer_state.json"
    write_json(state, {**read_json(state), "global_step": 0})
    mark_complete(twin)
    return twin
