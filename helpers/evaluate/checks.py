"""Checks of your own: the public functions of a Python file that the setting `checks` names, run on every model's
replies.

    def exact(messages, reply, reference) -> bool:
        "All five fields are right."

`messages` is what was asked, `reply` a text (with `.stopped`: it ended by itself), `reference` the held-out row's
answer. `baseline(messages) -> str`, if it is there, answers without any model. The file is your own code, and is
run.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers.evaluate.counts import Change, changes, told_count
from helpers.evaluate.generation import Reply
from helpers.paths import PROJECT_ROOT
from helpers.show.tables import Table
from helpers.show.words import _

READY = "helpers.evaluate.ready"
Check = Callable[[list[dict], str, str], bool]


class BadChecks(ValueError):
    """A file of checks that cannot be used: `file`, and `name` of the function, if it is one."""

    def __init__(self, file: Path, reason: str, name: str = ""):
        self.file, self.name = file, name
        super().__init__(f"{file}: {name + ': ' if name else ''}{reason}")


class Text(str):
    """A reply as a check gets it."""

    stopped: bool = True


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
        counted = {}
        for name, models in self.passed.items():
            rows = max(map(len, models.values()), default=0)
            counted[name] = {**{model: sum(right) for model, right in models.items()}, "of": rows}
        return counted

    def changes(self) -> dict[str, list[dict]]:
        """The rows that adapter and merged model won and lost, by check; each verdict has its share of the 5 %."""
        verdicts = 2 * max(len(self.passed), 1)
        return {
            name: [change.to_json() for change in changes(models, verdicts)] for name, models in self.passed.items()
        }


def load_checks(file: str) -> tuple[dict[str, Check], Callable[[list[dict]], str] | None]:
    """The checks of a file by name, and its `baseline`. A path that is not absolute counts from here, or from the
    project.

    Raises BadChecks for a file that is not there, does not run, or has a public function that is no check.
    """
    path = Path(file).expanduser()
    path = path if path.exists() else PROJECT_ROOT / path
    if not path.is_file():
        raise BadChecks(path, _("this file is not there."))
    spec = importlib.util.spec_from_file_location(f"checks_{path.stem}", path)
    if spec is None:
        raise BadChecks(path, _("this is no Python file."))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever somebody's own code may raise
        raise BadChecks(path, _("it cannot be run: {error}").format(error=repr(error))) from error
    checks = {}
    for name, function in vars(module).items():
        if name != "baseline" and not name.startswith("_") and _is_check(path, module.__name__, name, function):
            checks[name] = function
    if not checks:
        raise BadChecks(path, _("it has no public function (messages, reply, reference) -> bool."))
    return checks, getattr(module, "baseline", None)


def _is_check(path: Path, module: str, name: str, function) -> bool:
    """True for a function of the file itself, or a ready-made one that it took. Raises BadChecks for one that cannot be
    used.
    """
    own = getattr(function, "__module__", "") == module
    if not inspect.isfunction(function) or not (own or function.__module__ == READY):
        return False
    parameters = inspect.signature(function).parameters
    if len(parameters) != 3:
        if own:
            sentence = _("a check takes (messages, reply, reference). Begin the name of a helper with _.")
            raise BadChecks(path, sentence, name)
        return False
    if not inspect.getdoc(function):
        raise BadChecks(path, _("a docstring is missing: what does this check ask?"), name)
    return True


def run_checks(
    checks: dict[str, Check],
    prompts: list[list[dict]],
    replies: dict[str, list[Reply]],
    references: list[str],
    baseline: Callable[[list[dict]], str] | None = None,
) -> Checked:
    """Every check on every reply; "baseline" stands beside the models."""
    found = Checked()
    texts = {name: [_text(reply.text, reply.stopped) for reply in given] for name, given in replies.items()}
    if baseline:
        texts["baseline"] = [_baseline_reply(baseline, messages, i, found) for i, messages in enumerate(prompts)]
    for name, check in checks.items():
        found.passed[name] = {}
        for model, given in texts.items():
            rows = zip(prompts, given, references, strict=True)
            found.passed[name][model] = [_passes((name, check), model, i, row, found) for i, row in enumerate(rows)]
    return found


def _text(content: str, stopped: bool = True) -> Text:
    text = Text(content)
    text.stopped = stopped
    return text


def _baseline_reply(baseline: Callable, messages: list[dict], row: int, found: Checked) -> Text:
    try:
        reply = baseline(copy.deepcopy(list(messages)))
        if not isinstance(reply, str):
            raise TypeError(_("{value!r} is no text").format(value=reply))
    except Exception as error:  # somebody's own code
        found.faults.append(Fault("baseline", "baseline", row, repr(error)))
        return _text("")
    return _text(reply)


def _passes(named: tuple[str, Check], model: str, number: int, row: tuple, found: Checked) -> bool:
    """Does the check pass on (messages, reply, reference)? One that fails itself is written down, and did not pass."""
    name, check = named
    messages, reply, reference = row
    try:
        passed = check(copy.deepcopy(list(messages)), reply, reference)
        if type(passed).__name__ not in ("bool", "bool_"):  # numpy has its own
            raise TypeError(_("{value!r} is neither True nor False").format(value=passed))
    except Exception as error:  # somebody's own code
        found.faults.append(Fault(name, model, number, repr(error)))
        return False
    return bool(passed)


def checks_told(counts: dict[str, dict], faults: list[Fault] = ()) -> list[str]:
    """What a reader must know about the checks themselves, in sentences."""
    told = []
    for name, counted in counts.items():
        models = [value for model, value in counted.items() if model not in ("of", "baseline")]
        if models and min(models) == counted["of"]:
            told.append(
                _("{check}: every model passes it on every row, so it measures nothing here.").format(check=name)
            )
        elif models and max(models) == 0:
            told.append(_("{check}: no model passes it on any row, so it measures nothing here.").format(check=name))
    first = {}
    for fault in faults:
        first.setdefault(fault.check, []).append(fault)
    for name, failed in first.items():
        sentence = _("{check} failed itself on {count} replies, first on row {row} of {model}: {error}. Not passed.")
        values = {"row": failed[0].row, "model": failed[0].model, "error": failed[0].error}
        told.append(sentence.format(check=name, count=len(failed), **values))
    return told


def checks_table(counts: dict[str, dict], changed: dict[str, list[dict]]) -> Table:
    """One row a check: how many replies of each model pass, with intervals, and what was won and lost."""
    rows = []
    for name, counted in counts.items():
        row = {"check": name}
        row |= {model: told_count(passed, counted["of"]) for model, passed in counted.items() if model != "of"}
        for change in map(_change, changed.get(name, ())):
            row[f"{change.model} − {change.against}"] = change.told
        rows.append(row)
    foreign = tuple(key for key in (rows[0] if rows else {}) if key != "check")
    caption = _("Replies that pass, with the 95 % interval of the share; rows won and lost by McNemar's test.")
    return Table(rows, caption=caption, foreign=foreign)


def _change(content: dict) -> Change:
    return Change(**content)


def won_and_lost_rows(changed: list[dict], rows: list[dict], model: str = "adapter", most: int = 6) -> Table:
    """The rows of comparisons.jsonl (held-out ones) that `model` won or lost in one check, side by side."""
    from helpers.evaluate.comparison import side_by_side

    shown = []
    for change in (change for change in map(_change, changed) if change.model == model):
        for kept, numbers in ((_("lost"), change.lost), (_("won"), change.won)):
            shown += [{"": kept, **side_by_side(rows[i])} for i in numbers[: most // 2]]
    return Table(shown)
