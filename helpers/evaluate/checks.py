"""Checks of your own: the public functions of a Python file that the setting `checks` names, run on every reply.

    def exact(messages, reply, reference) -> bool:
        "All five fields are right."

`messages` is what was asked, `reply` a text (with `.stopped`: it ended by itself), `reference` the held-out row's
answer. `baseline(messages) -> str`, if it is there, answers without any model. The file is your own code, and is run.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from helpers.evaluate.comparison import side_by_side
from helpers.evaluate.counts import PAIRS, change_of, changes, told_change
from helpers.evaluate.generation import Reply
from helpers.evaluate.intervals import told_count
from helpers.paths import PROJECT_ROOT
from helpers.show.tables import Table
from helpers.show.words import _

READY = "helpers.evaluate.ready"
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
        counted = {}
        for name, models in self.passed.items():
            rows = max(map(len, models.values()), default=0)
            counted[name] = {**{model: sum(right) for model, right in models.items()}, "of": rows}
        return counted

    def changes(self, pairs: Sequence[tuple[str, str]] = PAIRS) -> dict[str, list[dict]]:
        """The rows that each of `pairs` won and lost, by check; each verdict has its share of the 5 %."""
        verdicts = len(pairs) * len(self.passed)
        return {name: changes(models, verdicts, pairs) for name, models in self.passed.items()}


def load_checks(file: str) -> tuple[dict[str, Check], Baseline | None]:
    """The checks of a file by name, and its `baseline`. A relative path counts from here, or from the project.

    Raises BadChecks for a file that is not there, does not run, or has a public function that is no check.
    """
    path = Path(file).expanduser()
    path = path if path.exists() else PROJECT_ROOT / path
    if not path.is_file():
        raise BadChecks(path, _("this file is not there."))
    spec = importlib.util.spec_from_file_location(f"checks_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadChecks(path, _("this is no Python file."))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever somebody's own code may raise
        raise BadChecks(path, _("it cannot be run: {error}").format(error=repr(error))) from error
    public = {name: value for name, value in vars(module).items() if name != "baseline" and not name.startswith("_")}
    checks = {name: value for name, value in public.items() if _is_check(path, module.__name__, name, value)}
    if not checks:
        raise BadChecks(path, _("it has no public function (messages, reply, reference) -> bool."))
    return checks, getattr(module, "baseline", None)


def _is_check(path: Path, module: str, name: str, function) -> bool:
    """True for a function of the file itself, or a ready-made one that it took. Raises BadChecks for an unfit one."""
    if not inspect.isfunction(function) or function.__module__ not in (module, READY):
        return False
    if len(inspect.signature(function).parameters) != 3:
        if function.__module__ == READY:  # a maker of checks, such as `matches`
            return False
        raise BadChecks(path, _("a check takes (messages, reply, reference). Begin the name of a helper with _."), name)
    if not inspect.getdoc(function):
        raise BadChecks(path, _("a docstring is missing: what does this check ask?"), name)
    return True


def run_checks(
    checks: dict[str, Check],
    prompts: list[list[dict]],
    replies: dict[str, list[Reply]],
    references: list[str],
    baseline: Baseline | None = None,
) -> Checked:
    """Every check on every reply; "baseline" stands beside the models."""
    checked = Checked()
    texts = {model: [Text(reply.text, reply.stopped) for reply in given] for model, given in replies.items()}
    if baseline:
        texts["baseline"] = [_baseline_reply(baseline, i, messages, checked) for i, messages in enumerate(prompts)]
    for name, check in checks.items():
        checked.passed[name] = {}
        for model, given in texts.items():
            passed = checked.passed[name][model] = []
            for i, row in enumerate(zip(prompts, given, references, strict=True)):
                try:
                    passed.append(_passes(check, *row))
                except Exception as error:  # somebody's own code
                    checked.faults.append(Fault(name, model, i, repr(error)))
                    passed.append(False)
    return checked


def _baseline_reply(baseline: Baseline, row: int, messages: list[dict], checked: Checked) -> Text:
    try:
        reply = baseline(copy.deepcopy(list(messages)))
        if not isinstance(reply, str):
            raise TypeError(_("{value!r} is no text").format(value=reply))
    except Exception as error:  # somebody's own code
        checked.faults.append(Fault("baseline", "baseline", row, repr(error)))
        return Text("")
    return Text(reply)


def _passes(check: Check, messages: list[dict], reply: str, reference: str) -> bool:
    passed = check(copy.deepcopy(list(messages)), reply, reference)
    if type(passed).__name__ not in ("bool", "bool_"):  # numpy has its own
        raise TypeError(_("{value!r} is neither True nor False").format(value=passed))
    return bool(passed)


def checks_told(counts: dict[str, dict], faults: Sequence[Fault] = ()) -> list[str]:
    """What a reader must know about the checks themselves, in sentences."""
    told, failed = [], {}
    all_pass = _("{check}: every model passes it on every row, so it measures nothing here.")
    none_passes = _("{check}: no model passes it on any row, so it measures nothing here.")
    for name, counted in counts.items():
        models = {value for model, value in counted.items() if model not in ("of", "baseline")}
        if models == {counted["of"]}:
            told.append(all_pass.format(check=name))
        elif models == {0}:
            told.append(none_passes.format(check=name))
    for fault in faults:
        failed.setdefault(fault.check, []).append(fault)
    for name, own in failed.items():
        sentence = _("{check} failed itself on {count} replies, first on row {row} of {model}: {error}. Not passed.")
        first = {"row": own[0].row, "model": own[0].model, "error": own[0].error}
        told.append(sentence.format(check=name, count=len(own), **first))
    return told


def checks_table(counts: dict[str, dict], changed: dict[str, list[dict]]) -> Table:
    """One row a check: how many replies of each model pass, with intervals, and what was won and lost."""
    rows = []
    for name, counted in counts.items():
        row = {model: told_count(passed, counted["of"]) for model, passed in counted.items() if model != "of"}
        for change in changed.get(name, ()):
            row[f"{change['model']} − {change['against']}"] = told_change(change)
        rows.append({"check": name} | row)
    caption = _("Replies that pass, with the 95 % interval of the share; rows won and lost by McNemar's test.")
    return Table(rows, caption=caption, foreign=tuple(rows[0])[1:] if rows else ())


def won_and_lost_rows(changed: list[dict], rows: list[dict], model: str = "adapter", most: int = 6) -> Table:
    """The rows of comparisons.jsonl (held-out ones) that `model` won or lost in one check, side by side."""
    change, shown = change_of(changed, model), []
    for what, numbers in ((_("lost"), change.get("lost", ())), (_("won"), change.get("won", ()))):
        shown += [{"": what, **side_by_side(rows[i])} for i in numbers[: most // 2]]
    return Table(shown)
