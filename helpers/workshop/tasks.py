"""What exercises and labs share: functions of the run and the answer, that raise `Missing` or say a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from helpers.runs import RunDir
from helpers.show.tables import Answer
from helpers.show.words import _


class Missing(Exception):
    """What a task still lacks, as a sentence (with `values` for its fields) that says how to go on."""

    def __init__(self, sentence: str, **values):
        super().__init__(sentence.format(**values) if values else sentence)


def require(met, sentence: str, **values) -> None:
    """Raises Missing unless `met`."""
    if not met:
        raise Missing(sentence, **values)


def require_answer(answer, asked: str) -> None:
    """Raises Missing while there is no `answer`. `asked` is what is asked for, in words."""
    missing = _("Still missing is the answer: {asked}. Write it into the cell as answer=...")
    require(answer is not None, missing, asked=asked)


def require_word(answer, right: bool, asked: str) -> None:
    """The `answer` in words must be there, and `right`."""
    require_answer(answer, asked)
    other = _("You say {answer!r}. Look once more: asked for is {asked}.")
    require(right, other, answer=answer, asked=asked)


def require_number(answer, right: float, asked: str, hint: str, off: float = 0) -> None:
    """`answer` must be `right`, or at most `off` away; "12 %" is 0.12. `asked` is what is asked for, in words."""
    require_answer(answer, asked)
    text = str(answer).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        none = _("answer={answer!r} is not a number. Asked for is {asked}.")
        raise Missing(none, answer=answer, asked=asked) from None
    other = _("You say {answer}; it is another number. {hint}")
    require(abs(number - right) <= off, other, answer=answer, hint=hint)


def require_pair(answer, asked: str) -> None:
    """`answer` must be two numbers. `asked` is what is asked for, in words."""
    missing = _("Two numbers are asked for, as answer=(first, second): {asked}.")
    numbers = isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(one, (int, float)) for one in answer)
    require(numbers, missing, asked=asked)


def called(function, *given, **options) -> Any:
    """What the participant's `function` gives; an error in it is a sentence."""
    kind = type(function).__name__
    require(callable(function), _("The answer is {kind}; it must be a function."), kind=kind)
    try:
        return function(*given, **options)
    except Exception as error:  # whatever the participant's own code raises
        raise Missing(_("Yours raises {error}: {text}."), error=type(error).__name__, text=error) from None


def same_start(a, b) -> int:
    """How many places of `a` and `b` are the same, from the front."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def answered(tasks: dict[str, Callable], name: str, run: RunDir | None, answer, **seen) -> Answer:
    """What the task `name` says to `answer`. Raises ValueError that lists the known ones for another name."""
    if name not in tasks:
        raise ValueError(_("There is no task {name!r}: use {known}.").format(name=name, known=", ".join(sorted(tasks))))
    try:
        return Answer(True, tasks[name](run, answer, **seen))
    except Missing as still:
        return Answer(False, str(still))
