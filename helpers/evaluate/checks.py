"""Checks of your own: the public functions of a Python file that the setting `checks` names, run on every reply.

    def exact(messages, reply, reference) -> bool:
        "All five fields are right."

`messages` is what was asked, `reply` a text (with `.stopped`: it ended by itself), `reference` the held-out row's
answer. `baseline(messages) -> str`, if it is there, answers without any model. The file is your own code, and is run.
"""

from __future__ import annotations

import copy
import inspect
import reprlib
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from helpers.evaluate.counts import PAIRS, changes
from helpers.evaluate.generation import Reply
from helpers.fields import BadSetting
from helpers.paths import PROJECT_ROOT
from helpers.show.progress import Progress
from helpers.show.words import _

READY = ("helpers.evaluate.ready", "helpers.evaluate.korean")
CHECK, BASELINE = ["messages", "reply", "reference"], ["messages"]  # what is handed over, in this order
OWN_CODE = (Exception, SystemExit)  # whatever somebody's own code may raise; ■ still stops it
Check = Callable[[list[dict], str, str], bool]
Baseline = Callable[[list[dict]], str]


class BadChecks(ValueError):
    """A file of checks that cannot be used: `file`, and `name` of the function, if it is one."""

    def __init__(self, file: Path, reason: str, name: str = ""):
        self.file, self.name = file, name
        super().__init__(f"{file}: {name + ': ' if name else ''}{reason}")


class Text(str):
    """A reply as a check gets it."""

    stopped: bool

    def __new__(cls, content: str, stopped: bool = True):
        text = super().__new__(cls, content)
        text.stopped = stopped
        return text


@dataclass(frozen=True)
class Fault:
    """A check that raised or gave no bool on a row; it counts as not passed."""

    check: str
    model: str
    row: int
    error: str


@dataclass(frozen=True)
class Checked:
    """What every reply passed: check -> model -> row by row."""

    passed: dict[str, dict[str, list[bool]]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def counts(self) -> dict[str, dict]:
        """As evaluation.json holds it: {check: {model: passed, "of": replies}}."""
        rows = max((len(right) for models in self.passed.values() for right in models.values()), default=0)
        counts = {name: {model: sum(right) for model, right in by.items()} for name, by in self.passed.items()}
        return {name: {**counted, "of": rows} for name, counted in counts.items()}

    def changes(self, pairs: Sequence[tuple[str, str]] = PAIRS) -> dict[str, list[dict]]:
        """The rows that each of `pairs` won and lost, by check; each verdict has its share of the 5 %."""
        verdicts = len(pairs) * len(self.passed)
        return {name: changes(models, verdicts, pairs) for name, models in self.passed.items()}


def checks_path(file: str) -> Path:
    """Where the file lies: a relative path counts from here, or from the project."""
    path = Path(file).expanduser()
    return (path if path.exists() else PROJECT_ROOT / path).resolve()


def load_checks(file: str) -> tuple[dict[str, Check], Baseline | None]:
    """The checks of a file by name, and its `baseline`.

    Raises BadChecks for a file that is not there, does not run, or has a public function that is no check; BadSetting
    where none is named.
    """
    if not file:
        sentence = _(
            "checks='' names no file: set `checks` to a Python file whose functions check a reply, such as "
            "notebooks/data/calendar_checks.py."
        )
        raise BadSetting(sentence, "checks", file)
    path = checks_path(file)
    if not path.is_file():
        raise BadChecks(path, _("there is no such file."))
    module = ModuleType(f"checks_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look there
    try:  # compiled here: a cache of Python's may be a second old
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    except OWN_CODE as error:
        raise BadChecks(path, _("it cannot be run: {error}").format(error=_what(error))) from error
    public = {name: value for name, value in vars(module).items() if name != "baseline" and not name.startswith("_")}
    checks = {name: value for name, value in public.items() if _is_check(path, module.__name__, name, value)}
    if not checks:
        raise BadChecks(path, _("it has no public function (messages, reply, reference) -> bool."))
    baseline = getattr(module, "baseline", None)
    if baseline is not None and not _takes(baseline, BASELINE):
        raise BadChecks(path, _("it answers without a model: def baseline(messages) -> str."), "baseline")
    return checks, baseline


def _is_check(path: Path, module: str, name: str, function) -> bool:
    """True for a function of the file itself, or a ready-made one that it took. Raises BadChecks for an unfit one."""
    if not inspect.isfunction(inspect.unwrap(function)) or function.__module__ not in (module, *READY):
        return False
    fits = _takes(function, CHECK)
    if function.__module__ in READY:  # a maker of checks, such as `matches`, is none
        return fits
    if not fits:
        sentence = _("a check is a plain def with (messages, reply, reference). Begin the name of a helper with _.")
        raise BadChecks(path, sentence, name)
    if not inspect.getdoc(function):
        raise BadChecks(path, _("a docstring is missing: what does this check ask?"), name)
    return True


def _takes(function: object, names: list[str]) -> bool:
    """Whether it can be called with `names` and answers at once; other names are fine, these in another order not."""
    if not callable(function):
        return False
    given = inspect.signature(function).parameters
    by_place = all(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in given.values())
    later = inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
    swapped = sorted(given) == sorted(names) and list(given) != names
    return len(given) == len(names) and by_place and not later and not swapped


def _what(error: BaseException) -> str:
    """Kind and words of an error in somebody's own file, with the last line there that led to it."""
    lines = [str(part.lineno) for part in traceback.extract_tb(error.__traceback__) if part.filename != __file__]
    where = _(" (line {line})").format(line=lines[0]) if lines and not isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}: {error}{where}"


def run_checks(
    checks: dict[str, Check],
    prompts: list[list[dict]],
    replies: dict[str, list[Reply]],
    references: list[str],
    baseline: Baseline | None = None,
) -> Checked:
    """Every check on every reply; "baseline" stands beside the models."""
    checked = Checked({name: {} for name in checks})
    texts = {model: [Text(reply.text, reply.stopped) for reply in given] for model, given in replies.items()}

    def answer(function: Callable, kind: str, where: tuple[str, str, int], messages: list[dict], *more: str):
        """What somebody's own function gives; None, and a fault, where it raises or gives another kind."""
        try:
            given = function(copy.deepcopy(list(messages)), *more)
            if kind not in (part.__name__ for part in type(given).__mro__):  # by name: numpy has a bool of its own
                raise TypeError(_("{value} is no {kind}").format(value=reprlib.repr(given), kind=kind))
            return given
        except OWN_CODE as error:
            checked.faults.append(Fault(*where, _what(error)))

    if baseline:
        answers = (answer(baseline, "str", ("baseline", "baseline", i), row) for i, row in enumerate(prompts))
        texts["baseline"] = [Text(text or "") for text in answers]
    for name, model in Progress([(name, model) for name in checks for model in texts], desc=_("checks of your own")):
        rows = enumerate(zip(prompts, texts[model], references, strict=True))
        passed = [answer(checks[name], "bool", (name, model, i), *row) for i, row in rows]
        checked.passed[name][model] = list(map(bool, passed))
    return checked
