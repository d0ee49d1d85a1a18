"""The class: the board reads runs of many that are half written or broken, and shows numbers alone; marks; pods."""

import csv
import json
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.workshop import board, progress
from helpers.workshop.board import page
from helpers.workshop.labs import LABS
from helpers.workshop.marks import SYSTEMS, class_csv
from tests.conftest import ROOT

SECRET = "hf_abcdefghijklmnopqrstuvwxyz"


def participant(folder: Path, name: str, step: int, merge: str = "", red: int = 0, labs: dict | None = None) -> RunDir:
    """What somebody's run directory (`name`: kim, or kim/second) holds in the middle of a training, or after it."""
    run = RunDir(folder / (name if "/" in name else f"{name}/demo"))
    run.path.mkdir(parents=True)
    run.config_json.write_text(json.dumps({"run_name": "demo", "model_id": f"secret/{SECRET}"}))
    run.data_report.write_text(json.dumps({"verdicts": [{"ok": i >= red} for i in range(5)], "sample": SECRET}))
    rows = [{"step": i, "max_steps": 40, "loss": 5 - i / 10} for i in range(1, step + 1)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 99, "lo')  # being written
    if merge:
        run.trained.write_text("{}")
        run.merge_report.write_text(json.dumps({"verdict": merge}))
    (run.path / "labs").mkdir()
    for lab, solved in (labs or {}).items():
        (run.path / "labs" / f"{lab}.json").write_text(json.dumps({"solved": solved}))
    return run


def test_the_board_shows_thirty_participants_and_no_content(tmp_path):
    for i in range(30):
        state = {"merge": "green"} if i < 3 else {"red": 2} if i < 5 else {}
        participant(tmp_path, f"학생{i:02}", step=i + 1, labs={"lab1": True, "lab2": False} if i == 7 else {}, **state)
    participant(tmp_path, "<b>bold", step=1)
    shown = page(tmp_path)
    assert (
        "31 participants." in shown
        and shown.count("✗ 2 red") == 2
        and shown.count('✓ green</span></td><td><span class="">–') == 3
    )
    assert len(re.findall(r"<td><b>학생\d\d</b></td>", shown)) == 30 and "8 / 40" in shown and "99" not in shown
    assert ">1✓ 2…</span></td>" in shown and "&lt;b&gt;bold" in shown and "<b>bold" not in shown
    assert SECRET not in shown


def test_of_several_runs_the_newest_is_shown_and_a_silent_one_is_marked(tmp_path):
    old, new = participant(tmp_path, "kim/first", 3), participant(tmp_path, "kim/second", 9)
    for path in old.path.rglob("*"):
        os.utime(path, (1000, 1000))
    [found] = progress.everybody(tmp_path)
    assert (found.run, found.step) == ("second", 9) and new.path.exists()
    assert "quiet for" not in page(tmp_path, now=found.seen + 600)
    assert "1 quiet for" in page(tmp_path, now=found.seen + 601)


def test_how_far_somebody_came_does_not_go_back_with_a_new_run(tmp_path):
    def marked():
        [row] = csv.DictReader(class_csv(progress.everybody(tmp_path)).splitlines())
        return row["notebook"], progress.everybody(tmp_path)[0].stage

    participant(tmp_path, f"kim/{progress.LAB_RUN}", 9, merge="green")
    first = participant(tmp_path, "kim/first", 3)
    assert marked() == ("03", "03"), "the small run of the labs is nobody's progress"
    for file in (first.evaluation, first.gguf):
        file.write_text("{}")
    for path in first.path.rglob("*"):
        os.utime(path, (1000, 1000))
    participant(tmp_path, "kim/fork", 40).trained.write_text("{}")
    assert marked() == ("07", "04")
    begun = RunDir(tmp_path / "kim" / "begun")
    begun.path.mkdir()
    begun.config_json.write_text("{}")
    os.utime(begun.config_json, (9e9, 9e9))
    assert marked() == ("07", "00")


def test_labs_are_solved_by_a_participant_not_by_a_run(tmp_path):
    """Before 04 has finished, the labs work on a small run of their own; that one is nobody's progress."""
    participant(tmp_path, f"kim/{progress.LAB_RUN}", 40, labs={"lab1": True, "lab2": True})
    [found] = progress.everybody(tmp_path)
    assert (found.run, found.step) == ("labs", 40)  # nothing else is there
    own = participant(tmp_path, "kim", 3, labs={"lab4": True})
    for path in own.path.rglob("*"):
        os.utime(path, (1000, 1000))
    [found] = progress.everybody(tmp_path)
    assert (found.run, found.step, list(found.labs)) == ("demo", 3, ["lab1", "lab2", "lab4"]) and found.seen > 2000
    (tmp_path / "lee").mkdir()  # pod.sh was there, nothing is run yet
    (tmp_path / ".trash").mkdir()
    assert [person.name for person in progress.everybody(tmp_path)] == ["kim", "lee"]
    assert "2 participants. Last finished notebook: 03: 1 · –: 1" in page(tmp_path)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def folder_instead(path):
    path.unlink()
    path.mkdir()


def loop(path):
    path.unlink()
    path.symlink_to(path)


EVIL = '"></progress><img src=x onerror=alert(1)>'
DAMAGE = {
    "a number": "7\n",
    "a list": "[1]\n",
    "cut in the middle": '{"step": 1, "los\n{"step": 2}\n',
    "zeros": "\0" * 4096 + "\n",
    "deep": "[" * 100_000 + "\n",
    "no text": b"\xff\xfe{}\n",
    "step is HTML": json.dumps({"step": EVIL, "max_steps": 4}) + "\n",
    "steps are HTML": json.dumps({"step": 3, "max_steps": EVIL}) + "\n",
    "loss is text": '{"loss": "1"}\n',
    "loss is no number": '{"loss": NaN}\n{"eval_loss": 1e999}\n',
    "step is a fraction, a truth, too large": '{"step": 1.5}\n{"step": true}\n{"step": 1' + "0" * 5000 + "}\n",
    "no ok": '{"verdicts": [{}]}\n',
    "ok is text": '{"verdicts": [{"ok": "yes"}]}\n',
    "verdicts are text": '{"verdicts": "abc"}\n',
    "verdict is a list": '{"verdict": ["green"]}\n',
    "verdict is HTML": json.dumps({"verdict": EVIL}) + "\n",
    "solved is HTML": json.dumps({"solved": EVIL, "tries": EVIL}) + "\n",
    "a pipe": pipe,
    "a folder": folder_instead,
    "a link to itself": loop,
}


def damages_but(*begins: str) -> list[str]:
    return [name for name in DAMAGE if not name.startswith(begins)]


READ_BY = {  # which of the files of a run a damage is one of
    "metrics.jsonl": damages_but("no ok", "ok", "verdict", "solved"),
    "data_report.json": damages_but("step", "loss", "verdict is", "solved"),
    "merge_report.json": damages_but("step", "loss", "no ok", "ok", "verdicts", "solved"),
    "labs/lab1.json": [
        *"a number, zeros, deep, no text, solved is HTML, a pipe, a folder, a link to itself".split(", ")
    ],
}


@pytest.mark.parametrize(("file", "damage"), [(file, name) for file, names in READ_BY.items() for name in names])
def test_a_broken_file_costs_a_word_in_one_row_and_nothing_else(tmp_path, file, damage):
    participant(tmp_path, "lee", 8, merge="green", labs={"lab1": True})
    run = participant(tmp_path, "kim", 8, merge="green", labs={"lab1": True})
    content = DAMAGE[damage]
    if callable(content):
        content(run.path / file)
    else:
        (run.path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    rows = re.findall("<tr>.*?</tr>", page(tmp_path), re.S)[1:]
    kim, lee = rows
    assert f"cannot be read: {file.split('/')[-1]} (" in kim and "img" not in kim
    assert "cannot be read" not in lee and "8 / 40" in lee and "✓ green" in lee
    shown = {"metrics.jsonl": "8 / 40", "labs/lab1.json": "1✓"}.get(file)
    assert all(value in kim for value in {"8 / 40", "1✓"} - {shown}), "what can be read is shown"


@pytest.fixture
def not_root(tmp_path_factory):
    """A folder that everybody may enter, seen by somebody who is not its owner."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    os.seteuid(os.getuid())
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="another user's files need root to be made")
@pytest.mark.parametrize("what", ["file", "run", "participant"])
def test_what_the_teacher_may_not_read_is_said(not_root, what):
    participant(not_root, "lee", 8)
    run = participant(not_root, "kim", 8)
    {"file": run.metrics, "run": run.path, "participant": run.path.parent}[what].chmod(0o700 if what != "file" else 0)
    os.seteuid(65534)
    kim, lee = re.findall("<tr>.*?</tr>", page(not_root), re.S)[1:]
    named = {"file": "metrics.jsonl", "run": "demo", "participant": "kim"}[what]
    assert f"cannot be read: {named} (no permission)" in kim and "8 / 40" in lee and "cannot" not in lee


def test_names_and_dates_that_are_none(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/k\xffm")
    run = participant(tmp_path, "late", 3)
    os.utime(run.config_json, (4e9, 4e9))
    os.utime(run.data_report, (4e9, 4e9))
    os.utime(run.metrics, (4e9, 4e9))
    shown = page(tmp_path)
    assert "k?m" in shown and "dated in the future" in shown and "1 quiet for" in shown


def test_failed_tries_are_seen(tmp_path):
    run = participant(tmp_path, "kim", 3, labs={"lab2": True})
    (run.labs / "lab1.json").write_text('{"solved": false, "tries": 4, "at": 1.0}')
    assert '<span class="wait">1…×4 2✓</span>' in page(tmp_path)


def test_a_picture_of_forty_people_takes_few_file_calls(tmp_path, monkeypatch):
    for i in range(40):
        for name in ("a", "b", "c"):
            participant(tmp_path, f"p{i}/{name}", 5, merge="green")
    calls = []

    def counted(name, call):
        return lambda *arguments, **more: (calls.append(name), call(*arguments, **more))[1]

    for name in ("stat", "lstat", "scandir", "listdir", "open"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    monkeypatch.setattr("builtins.open", counted("open", open))
    page(tmp_path)
    assert 161 < len(calls) < 500, len(calls)


@pytest.mark.parametrize("system", SYSTEMS)
def test_marks_in_the_columns_of_each_system(tmp_path, system):
    participant(tmp_path, "kim", 3, labs={"lab1": True, "lab2": False, "lab3": True})
    participant(tmp_path, "=HYPERLINK(1)", 3)
    rows = list(csv.DictReader(class_csv(progress.everybody(tmp_path), system).splitlines()))
    score = {"moodle": "labs", "canvas": "Fine-tuning labs", "nbgrader": "score"}[system]
    name = {"moodle": "username", "canvas": "SIS Login ID", "nbgrader": "student_id"}[system]
    found = {row[name]: row[score] for row in rows}
    assert found["kim"] == "2" and found["'=HYPERLINK(1)"] == "0"  # a spreadsheet would compute the name
    with pytest.raises(ValueError, match="'excel' is unknown: use moodle"):
        class_csv([], "excel")


@pytest.mark.parametrize("system", SYSTEMS)
def test_nobody_has_more_labs_than_there_are(tmp_path, system):
    """A file of another name in labs/ is no lab: a draft, a copy, one that somebody wrote."""
    others = dict.fromkeys(["lab0", "lab01", "lab07", "lab16", "lab99", "lab123", "lab1-copy", "LAB1"], True)
    participant(tmp_path, "kim", 3, labs=others | dict.fromkeys(LABS, True))
    [found] = progress.everybody(tmp_path)
    assert list(found.labs) == list(LABS) and not found.faults
    [row] = [line for line in class_csv([found], system).splitlines() if "kim" in line]
    assert row.split(",").count(str(len(LABS))) == (1 if system == "canvas" else 2)
    assert f">{' '.join(f'{i}✓' for i in range(1, len(LABS) + 1))}</span>" in page(tmp_path)


def test_the_board_is_served_on_this_machine_alone(tmp_path):
    participant(tmp_path, "kim", 3)
    command = [sys.executable, "-m", "helpers.workshop.board", str(tmp_path), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())[0]
        assert "kim" in urllib.request.urlopen(address, timeout=10).read().decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}kim/demo/config.json", timeout=10)
    finally:
        server.terminate()
        server.wait()


@pytest.mark.parametrize("port", [99999, -1, "taken"])
def test_a_port_that_cannot_be_used_is_a_sentence(tmp_path, monkeypatch, capsys, port):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1] if port == "taken" else port
        monkeypatch.setattr(sys, "argv", ["board", str(tmp_path), f"--port={port}"])
        assert board.main() == 1
    told = capsys.readouterr().err
    assert told.startswith(f"Port {port} cannot be used (") and told.endswith("choose another with --port.\n")


def write_run(root: str, number: int, barrier) -> None:
    """A participant's process: begins a run under the common root, locks it and writes a hundred rows."""
    os.environ["QLORA_RUNS_DIR"] = f"{root}/person{number}"
    run = RunDir.open(RunConfig.load("tiny"))
    barrier.wait()
    with run.lock("training"):
        run.save_config(RunConfig.load("tiny", seed=number))
        for step in range(1, 101):
            with run.metrics.open("a") as file:
                file.write(json.dumps({"step": step, "max_steps": 100, "loss": number}) + "\n")


def test_twenty_five_who_write_at_once_under_one_root_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(25)
    people = [context.Process(target=write_run, args=(str(tmp_path), number, barrier)) for number in range(25)]
    for person in people:
        person.start()
    watching = threading.Event()
    seen = []

    def watch():
        while not watching.is_set():
            seen.append(page(tmp_path))
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    for person in people:
        person.join(60)
    watching.set()
    thread.join()
    assert seen and all(person.exitcode == 0 for person in people)
    found = progress.everybody(tmp_path)
    assert len(found) == 25 and all(person.step == 100 for person in found)
    for number in range(25):
        run = RunDir(tmp_path / f"person{number}" / "tiny")
        assert (
            json.loads(run.config_json.read_text())["seed"] == number
            and len(run.metrics.read_text().splitlines()) == 100
        )
