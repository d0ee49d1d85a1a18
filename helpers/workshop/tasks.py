"""What an exercise and a lab have in common: a function of the run and the answer, which raises `Missing` or says a sentence."""

from __future__ import annotations

from collections.abc import Callable

from helpers.runs import RunDir
from helpers.show.tables import Answer
from helpers.show.words import _


class Missing(Exception):
    """What a task still lacks, as a sentence that says how to go on."""


def answered(tasks: dict[str, Callable], name: str, run: RunDir, answer, **seen) -> Answer:
    """What the task `name` says to `answer`. Raises ValueError that lists the known ones for another name."""
    if name not in tasks:
        raise ValueError(_("There is no task {name!r}: use {known}.").format(name=name, known=", ".join(tasks)))
    try:
        return Answer(True, tasks[name](run, answer, **seen))
    except Missing as still:
        return Answer(False, str(still))
