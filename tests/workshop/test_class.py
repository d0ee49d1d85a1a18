"""The class: progress and board read half-written runs of many, the certificate finds every change, the sheet adds up."""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.workshop import certificate, progress
from helpers.workshop.board import page
from helpers.workshop.sheet import sheet
from tests.conftest import ROOT

SECRET = "hf_abcdefghijklmnopqrstuvwxyz"


def participant(
    folder, name: str, step: int, merge: str = "", red: int = 0, labs: dict = (), run: str = "demo"
) -> RunDir:
    """What somebody's run directory holds in the middle of a training, or after it."""
    run = RunDir(folder / name / run)
    run.path.mkdir(parents=True)
    run.config_json.write_text(json.dumps({"run_name": "demo", "model_id": f"secret/{SECRET}"}))
    run.data_report.write_text(json.dumps({"verdicts": [{"ok": i >= red} for i in range(5)], "sample": SECRET}))
    rows = [{"step": i, "max_steps": 40, "loss": 5 - i / 10} for i in range(1, step + 1)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 99, "lo')  # being written
    if merge:
        run.trained.write_text("{}")
        run.merge_report.write_text(json.dumps({"verdict": merge}))
    (run.path / "labs").mkdir()
    for lab, solved in dict(labs).items():
        (run.path / "labs" / f"{lab}.json").write_text(json.dumps({"solved": solved}))
    return run


def test_the_board_shows_thirty_participants_and_no_content(tmp_path):
    for i in range(30):
        state = {"merge": "green"} if i < 3 else {"red": 2} if i < 5 else {}
        participant(tmp_path, f"학생{i:02}", step=i + 1, labs={"lab1": True, "lab2": False} if i == 7 else {}, **state)
    participant(tmp_path, "<b>bold", step=1)
    shown = page(tmp_path)
    assert "31 participants" in shown and shown.count("✗ 2 red") == 2 and shown.count("✓ green</span></td><td>–") == 3
    assert len(re.findall(r"<td><b>학생\d\d</b></td>", shown)) == 30 and "8 / 40" in shown and "99" not in shown
    assert "<td>1✓ 2…</td>" in shown and "&lt;b&gt;bold" in shown and "<b>bold" not in shown
    assert SECRET not in shown


def test_of_several_runs_the_newest_is_shown_and_a_silent_one_is_marked(tmp_path):
    old, new = participant(tmp_path, "kim", 3, run="first"), participant(tmp_path, "kim", 9, run="second")
    for path in old.path.rglob("*"):
        os.utime(path, (1000, 1000))
    [found] = progress.everybody(tmp_path)
    assert (found.run, found.step) == ("second", 9) and new.path.exists()
    assert "quiet for" not in page(tmp_path, now=found.seen + 600)
    assert "1 quiet for" in page(tmp_path, now=found.seen + 601)


def test_labs_are_solved_by_a_participant_not_by_a_run(tmp_path):
    """Before 04 has finished, the labs work on a small run of their own; that one is nobody's progress."""
    participant(tmp_path, "kim", 40, run=progress.LAB_RUN, labs={"lab1": True, "lab2": True})
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


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00", '{"verdict": null}'])
def test_a_file_that_is_not_whole_counts_as_not_there(tmp_path, content):
    run = participant(tmp_path, "kim", 3)
    for path in (run.data_report, run.merge_report):
        path.write_text(content)
    found = progress.of(run, "kim")
    assert found.red_labels is None and found.merge is None and found.step == 3


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


@pytest.fixture(scope="module")
def certified(whole_run, tmp_path_factory):
    """A copy of the finished run, with a certificate."""
    run = RunDir(tmp_path_factory.mktemp("certified") / "tiny")
    shutil.copytree(whole_run.path, run.path, ignore=shutil.ignore_patterns("merged", "gguf", "trainer", "notebooks"))
    (run.path / "labs").mkdir(exist_ok=True)
    (run.path / "labs" / "lab1.json").write_text('{"solved": true}')
    path = run.path / "certificate.html"
    path.write_text(certificate.certificate(run, "<홍길동>", "2026-11-25"))
    return run, path


def test_a_certificate_shows_the_run_and_is_genuine(certified):
    run, path = certified
    text = path.read_text()
    assert "&lt;홍길동&gt;" in text and "<홍길동>" not in text and "1: lab1" in text and "aria-label" in text
    assert certificate.verify(path, run) == []


@pytest.mark.parametrize("change", ["page", "name", "file", "lab", "lab elsewhere", "gone"])
def test_every_change_is_found(certified, tmp_path, change):
    run, path = certified
    copy = RunDir(tmp_path / "tiny")
    shutil.copytree(run.path, copy.path)
    path = copy.path / "certificate.html"
    if change == "page":
        path.write_text(re.sub(r"(\d+) steps", "9999 steps", path.read_text()))
    elif change == "name":
        path.write_text(path.read_text().replace("홍길동", "임꺽정"))
    elif change == "file":
        copy.metrics.write_text(copy.metrics.read_text().replace('"loss": ', '"loss": 0'))
    elif change == "lab":
        (copy.path / "labs" / "lab2.json").write_text('{"solved": true}')
    elif change == "lab elsewhere":  # solved on the small run that the labs make
        (tmp_path / "labs" / "labs").mkdir(parents=True)
        (tmp_path / "labs" / "labs" / "lab2.json").write_text('{"solved": true}')
        assert certificate.verify(path, copy) == ["../labs/labs/lab2.json came later"]
    elif change == "gone":
        copy.votes.unlink(missing_ok=True)
        copy.evaluation.unlink()
    assert certificate.verify(path, copy)


def test_no_certificate_without_a_training_or_a_name(tmp_path, certified):
    run = RunDir(tmp_path / "new")
    run.path.mkdir()
    with pytest.raises(FileNotFoundError, match="04_qlora_training"):
        certificate.certificate(run, "kim", "2026-11-25")
    with pytest.raises(ValueError, match="name=' ' is empty"):
        certificate.certificate(certified[0], " ", "2026-11-25")


def test_the_sheet_adds_up():
    rows = {row["what"]: row["amount"] for row in sheet(25, 3.5, 0.29, base=13.5e9, packages=2e9).rows}
    assert rows["pods"] == "25.38"  # 25 x 3.5 x 0.29 = 25.375
    assert rows["container disks"] == "0.24"  # 25 x 20 GB x 0.10 x 3.5 / 730
    assert rows["cost of the day"] == "32.61" and rows["cost of a participant"] == "1.30"
    assert rows["download, everybody alone"] == "388 GB" and rows["download, shared cache"] == "63.5 GB"
    with pytest.raises(ValueError, match="hours=0 must be a positive number"):
        sheet(25, 0, 0.29, base=1.0)


@pytest.fixture
def pod(tmp_path):
    """The project's script in a project whose set-up does nothing, and a Python that has ipykernel."""
    (tmp_path / "project" / "docs" / "workshop").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "workshop" / "pod.sh", tmp_path / "project" / "docs" / "workshop")
    (tmp_path / "project" / "setup_kernel.sh").write_text("echo ready\n")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "venv" / "bin" / "python").chmod(0o755)

    def run(*arguments, host="pod-1"):
        variables = {"VENV_DIR": str(tmp_path / "venv"), "HOME": str(tmp_path / "home"), "HOSTNAME": host}
        script = tmp_path / "project" / "docs" / "workshop" / "pod.sh"
        environment = {**os.environ, **variables}
        environment.pop("JUPYTER_DATA_DIR", None)
        return subprocess.run(["bash", script, *arguments], env=environment, capture_output=True, text=True)

    return run


def test_a_pod_is_set_up_twice_with_one_green_line(pod, tmp_path):
    shared = tmp_path / "volume"
    shared.mkdir()
    for _ in range(2):
        done = pod("홍길동", str(shared))
        assert done.returncode == 0 and done.stdout.count("\n") == 1 and "홍길동 is ready" in done.stdout, done.stderr
    kernels = [*tmp_path.glob("home/**/kernels/qlora/kernel.json"), *tmp_path.glob("venv/share/**/qlora/kernel.json")]
    assert len(kernels) == 2
    for kernel in kernels:
        assert json.loads(kernel.read_text())["env"]["QLORA_RUNS_DIR"] == str(shared / "class" / "홍길동")


@pytest.mark.parametrize("enough, tries", [(True, ["alone"]), (False, ["alone", "with the index"])])
def test_packages_come_from_the_volume_alone_where_that_is_enough(pod, tmp_path, enough, tries):
    """25 pods then load nothing and need no network."""
    wheels = tmp_path / "volume" / "cache" / "wheels"
    wheels.mkdir(parents=True)
    told = 'case " $PIP_FIND_LINKS " in *"/volume/cache/wheels "*) ;; *) exit 2 ;; esac\n'
    told += f'if [ -n "$PIP_NO_INDEX" ]; then echo alone >>{tmp_path}/tries; exit {0 if enough else 1}; fi\n'
    (tmp_path / "project" / "setup_kernel.sh").write_text(told + f"echo with the index >>{tmp_path}/tries\n")
    done = pod("kim", str(tmp_path / "volume"))
    assert done.returncode == 0 and "kim is ready" in done.stdout, done.stderr
    assert (tmp_path / "tries").read_text().splitlines() == tries


def test_a_name_is_taken_once_and_a_bad_one_is_refused(pod, tmp_path):
    (tmp_path / "volume").mkdir()
    assert pod("kim", str(tmp_path / "volume")).returncode == 0
    second = pod("kim", str(tmp_path / "volume"), host="pod-2")
    assert second.returncode == 1 and "kim is on the pod pod-1 already" in second.stderr
    for name in ("", "../kim", "a b"):
        refused = pod(name, str(tmp_path / "volume"))
        assert refused.returncode == 1 and "must be letters" in refused.stderr
    missing = pod("kim", "/proc/none")
    assert missing.returncode == 1 and "cannot write /proc/none" in missing.stderr
