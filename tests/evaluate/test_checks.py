"""Checks of one's own, the ready-made ones, and the gate that reads them."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from helpers.evaluate.checks import BadChecks, load_checks, run_checks
from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.gate import SHIP, STOP, UNDECIDED, BadRequirement, decide, requirements
from helpers.evaluate.generation import Reply
from helpers.evaluate.passed import by_source, checks_table, checks_told, strictest, won_and_lost_rows
from helpers.evaluate.ready import (
    at_most,
    contains,
    json_schema,
    matches,
    no_repetition,
    same_fields,
    stops,
    valid_json,
    values_from_question,
)
from helpers.fields import BadSetting
from helpers.files import write_json
from helpers.runs import RunDir
from helpers.settings import RunConfig

HEAD = "from helpers.evaluate.ready import valid_json, matches, stops\nimport re\nfrom re import search\n"
OWN = """
polite = matches("please")
def exact(messages, reply, reference):
    "The reference, letter by letter."
    return reply == reference
def fragile(messages, reply, reference):
    "A check with a fault of its own."
    messages.clear()
    return len(reply) / (len(reply) - 1) > 0
def baseline(messages):
    return messages[-1]["content"]
def _helper(text):
    return text
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "my_checks.py"
        path.write_text(text)
        return str(path)

    return write


def replies(*texts, stopped=True):
    return [Reply(text, (1,), stopped, 3) for text in texts]


def test_a_run_without_checks_is_told_to_set_them():
    with pytest.raises(BadSetting, match="checks='' names no file: set `checks`"):
        load_checks(RunConfig.load("llama2-7b").checks)


GOOD = "def f(messages, reply, reference):\n 'doc'\n return True\n"
PROMPTS = [[{"role": "user", "content": f"question {i}"}] for i in range(4)]


def test_public_functions_and_ready_made_ones_are_the_checks(file):
    checks, baseline = load_checks(file(HEAD + OWN))
    assert list(checks) == ["valid_json", "stops", "polite", "exact", "fragile"]
    assert baseline(PROMPTS[0]) == "question 0"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("def f(messages, reply, reference): return True", "f"),  # no docstring
        ("def f(reply):\n 'doc'\n return True", "f"),
        ("def f(messages, reply):\n 'doc'\n return True", "f"),
        ("def f(messages, reference, reply):\n 'doc'\n return True", "f"),  # handed over in another order
        ("def f(messages, reply, *, reference):\n 'doc'\n return True", "f"),
        ("async def f(messages, reply, reference):\n 'doc'\n return True", "f"),
        ("def f(messages, reply, reference):\n 'doc'\n yield True", "f"),
        ("f = lambda messages, reply, reference: True", "f"),
        (GOOD + "def baseline(messages, reply, reference):\n 'a check of this name'\n return True", "baseline"),
        (GOOD + "async def baseline(messages):\n return 'a'", "baseline"),
        (GOOD + "baseline = 'a reply'", "baseline"),
        ("x = 1", ""),
        ("", ""),
        ("def _f(messages, reply, reference):\n 'doc'\n return True", ""),
        ("class Check:\n 'doc'\n def __call__(self, messages, reply, reference): return True", ""),
        ("from json import loads\nfrom helpers.evaluate.counts import judge_counts", ""),  # not of this file
    ],
)
def test_a_file_that_cannot_be_used_is_refused(file, text, name):
    with pytest.raises(BadChecks) as refused:
        load_checks(file(text))
    assert refused.value.name == name and "my_checks.py" in str(refused.value)
    with pytest.raises(BadChecks):
        load_checks("no/such/file.py")


def test_a_file_is_compiled_with_its_own_future_alone(file):
    checks, _baseline = load_checks(file("def f(messages, reply: str, reference) -> bool:\n 'doc'\n return True"))
    assert checks["f"].__annotations__ == {"reply": str, "return": bool}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("import sys\n\nsys.exit(3)", "SystemExit: 3 (line 3)"),
        ("x = 1\ndef f(:", "SyntaxError: .*line 2"),
        ("import a_module_that_nobody_has", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
    ],
)
def test_a_file_that_does_not_run_is_told_with_its_line(file, text, words):
    with pytest.raises(BadChecks, match=words.replace("(", r"\(").replace(")", r"\)")):
        load_checks(file(text))


def test_what_a_file_may_hold_beside_its_checks(tmp_path, monkeypatch):
    text = """
from __future__ import annotations
from dataclasses import dataclass
from functools import lru_cache, wraps
@dataclass
class Entry:
    day: str
def _loud(check):
    @wraps(check)
    def inner(*row):
        print("asked")
        return check(*row)
    return inner
@_loud
def same(messages, reply, reference):
    "The day is right."
    return Entry(reply) == Entry(reference)
"""
    folder = tmp_path / "내 검사"
    folder.mkdir()
    (folder / "검사.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    checks, baseline = load_checks("검사.py")
    assert list(checks) == ["same"] and baseline is None
    (folder / "검사.py").write_text(text.replace("==", "!="), encoding="utf-8")  # as long, and in the same second
    again, _ = load_checks("검사.py")
    row = (PROMPTS[0], "Monday", "Monday")
    assert checks["same"](*row) and not again["same"](*row)


def test_counts_changes_faults_and_a_baseline(file):
    checks, baseline = load_checks(file(HEAD + OWN))
    said = {"base": replies("", "ab", "a", "ab", stopped=False), "adapter": replies("x1", "ab", "x3", "ab")}
    checked = run_checks(checks, PROMPTS, said, ["x1", "ab", "x3", "no"], baseline)
    counts = checked.counts()
    assert counts["exact"] == {"base": 1, "adapter": 3, "baseline": 0, "of": 4}
    assert counts["stops"] == {"base": 0, "adapter": 4, "baseline": 4, "of": 4}
    assert counts["fragile"] == {"base": 2, "adapter": 4, "baseline": 4, "of": 4}  # messages were cleared: a copy each
    (change,) = checked.changes()["exact"]
    assert (change["won"], change["lost"], change["verdict"]) == ([0, 2], [], "too few rows")
    assert [(fault.check, fault.model, fault.row) for fault in checked.faults] == [("fragile", "base", 2)]
    told = checks_told(counts, checked.faults)
    assert [line.split(": ")[0].split(" failed")[0] for line in told] == ["valid_json, polite", "fragile"]
    assert "ZeroDivisionError: division by zero (line 12)" in told[-1] and "row 2 of base" in told[-1]
    assert [strictest(checked.passed, model) for model in ("base", "baseline")] == 2 * ["valid_json"]
    assert strictest({"a": {"adapter": [False], "base": [True]}, "b": {"adapter": [False], "base": [False]}}) == "b"
    apart = by_source(checked.passed["exact"], ["old", "new", "old", "new"])
    assert [row["source"] for row in apart.rows] == ["new", "old"] and apart.rows[1]["adapter"].startswith("2 of 2")
    table = checks_table(counts, checked.changes())
    assert "3 of 4" in repr(table) and "McNemar" in table.caption
    assert "McNemar" not in checks_table(counts, {}).caption, "nothing was won or lost there"
    row = {"reference": "r", "stopped": {"base": True, "adapter": True}, "base": "b", "adapter": "a"}
    shown = won_and_lost_rows(checked.changes()["exact"], [{**row, "messages": prompt} for prompt in PROMPTS])
    assert [row["asked"] for row in shown.rows] == ["question 0", "question 2"]


def passed(file, answer):
    """One reply under a check that gives `answer`."""
    checks, _ = load_checks(file(GOOD.replace("True", answer)))
    return run_checks(checks, PROMPTS[:1], {"base": replies("a")}, ["a"])


@pytest.mark.parametrize("answer", ["None", "1", "0.7", "'yes' * 999", "[]", "exit()", "__import__('nobody')"])
def test_only_true_and_false_count(file, answer):
    checked = passed(file, answer)
    assert checked.counts()["f"]["base"] == 0 and len(checked.faults) == 1
    assert len(checks_told(checked.counts(), checked.faults)[-1]) < 200


@pytest.mark.parametrize("answer", ["__import__('numpy').bool_(True)", "True"])
def test_numpy_s_true_counts_too(file, answer):
    assert passed(file, answer).passed == {"f": {"base": [True]}}


@pytest.mark.parametrize("broken", ["return None", "raise SystemError()"])
def test_a_baseline_that_fails_is_told(file, broken):
    checks, baseline = load_checks(file(f"{GOOD}def baseline(messages):\n {broken}\n"))
    checked = run_checks(checks, PROMPTS, {"base": replies(*"abcd")}, list("abcd"), baseline)
    assert len(checked.faults) == 4 and "baseline failed itself" in checks_told(checked.counts(), checked.faults)[-1]


ENTRY = '{"day": "Monday", "time": "5", "with": null}'
SCHEMA = {"type": "object", "required": ["day"], "properties": {"day": {"type": "string"}}}


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (valid_json, [ENTRY, "[1]"], ["", "5", "{'a': 1}", ENTRY + " Done.", '{"a": 1, "a": 2}', "[" * 100_000]),
        (json_schema(SCHEMA), ['{"day": "x", "more": 1}'], ['{"day": 5}', "{}", "no JSON", "[]"]),
        (same_fields("day", "time"), [ENTRY, '{"time": "5", "day": "Monday"}'], ['{"day": "Monday"}', "[]", "Monday"]),
        (same_fields(), ['{"time": "5", "day": "Monday", "with": null}'], ['{"time": "5", "day": "Monday"}']),
        (contains("monday", "5"), [ENTRY], ["Monday", ""]),
        (matches("^[{].*[}]$"), [ENTRY], ["see {a}"]),
        (at_most(50), [ENTRY, "x" * 50], ["", "  ", "x" * 51]),
        (no_repetition, [ENTRY, "a, a, a"], ["no way " * 3, "1\n1\n1", "잠을 자요" * 9]),
        (values_from_question, ['{"day": "Monday"}', '{"n": 5, "with": null}', "[]"], ['{"day": "Friday"}', '{"a": [{"b": "noon"}]}', "Monday"]),
    ],
)  # fmt: skip
def test_the_ready_made_checks(check, good, bad):
    asked = [{"role": "system", "content": "Friday"}, {"role": "user", "content": "Monday at 5"}]
    assert [reply for reply in good if not check(asked, reply, ENTRY)] == []
    assert [reply[:50] for reply in bad if check(asked, reply, ENTRY)] == []
    assert check.__doc__ and stops(asked, "a plain text", "")


def measured(tmp_path, merge="green", passed=44, loss=None, known="unclear", edited=False):
    """A run as 05 and 06 leave it: `passed` of 48 replies pass the check `exact`."""
    run, own = RunDir(tmp_path / "run"), tmp_path / "own.py"
    own.write_text(GOOD)
    config = RunConfig.load("tiny", checks=str(own))
    run.save_config(config)
    write_json(run.merge_report, {"verdict": merge})
    paired = [{"number": "NLL per token", "model": "merged", "against": "adapter", "verdict": loss or "better"}]
    paired.append({**paired[0], "model": "adapter", "against": "base", "verdict": "better", "difference": -0.5})
    checks = {"exact": {"base": 0, "merged": passed, "of": 48}}
    found = {"checks": checks, "known": {"changes": [{"model": "merged", "verdict": known}]}}
    found["forgetting"] = {"merged": {"languages": {"en": {"verdict": loss or "unclear"}}}}
    Evaluation.of(config, {"base": {}, "merged": {}}, paired, **found).write(run)
    own.write_text(GOOD + edited * "# and more")
    return run


@pytest.mark.parametrize(
    ("found", "require", "code"),
    [
        ({}, "", SHIP),
        ({}, "exact >= 0.8", SHIP),
        ({"passed": 46}, "exact >= 85%, exact <= 1", SHIP),
        ({"passed": 40}, "exact >= 0.8", UNDECIDED),
        ({"passed": 20}, "exact >= 0.8", STOP),
        ({"passed": 40}, "exact <= 0.5", STOP),
        ({}, "valid_json >= 0.95", UNDECIDED),  # nobody measured it
        ({"edited": True}, "exact >= 0.8", UNDECIDED),  # it would count otherwise now
        ({"edited": True}, "", SHIP),
        ({"merge": "red"}, "", STOP),
        ({"merge": "unclear"}, "", UNDECIDED),
        ({"loss": "worse"}, "", STOP),
        ({"known": "worse"}, "", STOP),
        ({"merge": "red", "passed": 40}, "exact >= 0.8", STOP),
    ],
)
def test_the_gate(tmp_path, found, require, code):
    assert decide(measured(tmp_path, **found), require)[0] == code


def test_a_check_that_nobody_measured_is_told_with_those_that_were(tmp_path):
    run = measured(tmp_path)
    (told,) = [reason.sentence for reason in decide(run, "exakt >= 0.8")[1] if "exakt" in reason.sentence]
    assert "exakt is no check" in told and "merged model: write one of exact, or" in told
    Evaluation.of(run.stored_config(), {}, []).write(run)  # measured without checks
    (told,) = [reason.sentence for reason in decide(run, "exact >= 0.8")[1] if "exact" in reason.sentence]
    assert told.endswith("set `checks` and run 06.")


@pytest.mark.parametrize(
    "text", ["exact", "exact = 0.8", "exact >= 95", "exact >= x", "exact >= 120%", "a b >= 1", "exact > = 0.1"]
)
def test_a_requirement_that_cannot_be_read_is_refused(text):
    with pytest.raises(BadRequirement):
        requirements(text)
    assert requirements("a>=.5 ,b <= 20%,") == [("a", ">=", 0.5), ("b", "<=", 0.2)]


@pytest.mark.parametrize("change", ["edited", "as it was", "gone"])
def test_checks_that_changed_since_they_were_counted_are_told(tmp_path, file, monkeypatch, change):
    path = file(GOOD)
    monkeypatch.chdir(tmp_path)
    config = RunConfig.load("tiny", checks="my_checks.py")
    evaluation = Evaluation.from_json(asdict(Evaluation.of(config, {}, [])))
    monkeypatch.chdir("/")  # a relative path counts from where 06 ran
    if change == "gone":
        Path(path).unlink()
    elif change == "edited":
        Path(path).write_text(GOOD + "# and more\n")
    assert bool(evaluation.stale_checks) == (change == "edited")


def test_the_gate_is_an_exit_code(tmp_path):
    measured(tmp_path)

    def gate(*words):
        from helpers.paths import PROJECT_ROOT

        environment = {"QLORA_RUNS_DIR": str(tmp_path), "PATH": "/usr/bin", "PYTHONPATH": str(PROJECT_ROOT)}
        command = [sys.executable, "-m", "helpers.evaluate.gate", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=PROJECT_ROOT)

    assert gate("run").returncode == 0 and gate("run", "--require", "exact >= 0.99").returncode == 1
    told = gate("run", "--require", "exact >= 0.9")
    assert told.returncode == 2 and "92% of 48" in told.stdout and "Merge report: green." in told.stdout
    unread = gate("nothing"), gate("run", "--require", "exact"), gate("run", "--requires", "exact >= 0.9")
    assert [told.returncode for told in unread] == [os.EX_USAGE] * 3, "2 would read as not decidable"


@pytest.mark.parametrize("name", ["calendar_checks", "polite_checks"])
def test_the_files_of_the_project_are_checks(name):
    checks, _ = load_checks(f"notebooks/data/{name}.py")
    assert len(checks) >= 4 and all(check.__doc__ for check in checks.values())
