"""The kit tells the truth: its sentences are the code's, its cells and files exist, its times add up."""

import argparse
import ast
import re

import nbformat
import pytest

from docs.workshop import numbers
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.train import launch
from helpers.workshop.guess import GUESSES
from tests.conftest import ROOT

KIT = ROOT / "docs" / "workshop"
SHEET = (KIT / "README.md").read_text(encoding="utf-8")


def test_every_sentence_of_a_failure_is_one_of_the_code():
    drills = SHEET[SHEET.index("## Eight failures") : SHEET.index("## Afterwards")]
    rows = [line.split("|")[2] for line in drills.splitlines() if line.startswith("| ")][1:]
    quoted = [text for row in rows for text in re.findall(r"`([^`]{8,})`", row) if "OVERRIDES" not in text]
    assert len(rows) == 8 and len(quoted) >= 5
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "helpers").rglob("*.py")]
    texts = "\n".join(str(node.value) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    texts += (ROOT / "notebooks" / "00_first_look.ipynb").read_text(encoding="utf-8")  # the cell of the set-up
    assert [text for text in quoted if text not in texts] == []


@pytest.mark.parametrize("page", sorted(KIT.glob("*.md")), ids=lambda path: path.stem)
def test_links_and_pictures_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)|href=\"([^\"#]+)", text)
    missing = [a or b for a, b in links if not (a or b).startswith("http") and not (page.parent / (a or b)).exists()]
    assert missing == []


def test_every_question_of_the_quiz_names_a_cell_that_exists():
    text = (KIT / "quiz.md").read_text(encoding="utf-8")
    known = {cell.id for path in ROOT.glob("notebooks/*.ipynb") for cell in nbformat.read(path, 4).cells}
    questions = re.split(r"^\d+\. ", text, flags=re.M)[1:]
    assert len(questions) == 12 and all("<summary>Answer</summary>" in question for question in questions)
    named = re.findall(r"cell ((?:nb|a)\w+-\w+)", text)
    assert len(named) >= 10 and [cell for cell in named if cell not in known] == []


@pytest.mark.parametrize("minutes", [180, 90])
def test_a_run_sheet_has_no_gap(minutes):
    """Nor have the seconds that were measured of it, a table of their own."""
    part = SHEET[SHEET.index(f"## {minutes} minutes") :].split("\n## ")[0]
    tables = [re.findall(r"^\| (\d+)-(\d+) \|", table, re.M) for table in part.split("\n\n")]
    for spans in filter(None, tables):
        assert (spans[0][0], spans[-1][1]) == ("0", str(minutes))
        assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert any(tables)


def test_the_slides_are_one_file_whose_pictures_come_from_the_pages():
    text = (KIT / "slides.md").read_text(encoding="utf-8")
    assert (
        text.startswith("---\nmarp: true") and text.count("\n---\n") == 14
    )  # the head's end, and 13 between 14 slides
    assert len(re.findall(r"\.\./\.\./notebooks/drawings/\w+\.svg", text)) >= 5


@pytest.mark.parametrize("file, language", [("slides.md", "en"), ("slides.ko.md", "ko")])
def test_the_slides_ask_what_the_pages_ask(monkeypatch, file, language):
    monkeypatch.setenv("QLORA_LANG", language)
    text = (KIT / file).read_text(encoding="utf-8")
    for asked in GUESSES.values():
        answers = " · ".join(f"{letter} {_(answer)}" for letter, answer in zip("ABC", asked.answers, strict=False))
        assert f"{_(asked.question)} {answers}\n" in text


def test_minute_65_is_a_cell_that_starts_a_training_and_does_not_stop_it(monkeypatch, tmp_path):
    cells = nbformat.read(ROOT / "notebooks" / "04_qlora_training.ipynb", 4).cells
    [cell] = [cell for cell in cells if cell.cell_type == "code" and "DETACHED" in cell.source]
    assert "`DETACHED`" in next(line for line in SHEET.splitlines() if line.startswith("| 65-"))
    started: list = []
    monkeypatch.setattr(launch, "start", lambda run, config: started.append(run))
    monkeypatch.setattr(launch, "running", lambda run: started and not run.trained.exists())
    names = {"run": RunDir(tmp_path), "config": RunConfig.load("tiny")}
    exec(cell.source, names)
    assert not started, "nobody has asked for it"
    for trained in (False, True, True):  # by hand; as the process that runs the page; and to look, after its end
        exec(cell.source.replace("DETACHED = False", "DETACHED = True"), names)
        names["run"].trained.touch() if trained else None
    assert started == [names["run"]] and "stop(" not in cell.source


@pytest.mark.parametrize("file, language", [("README.md", "en"), ("README.ko.md", "ko")])
def test_the_kit_has_the_numbers_that_its_command_prints(monkeypatch, tmp_path, file, language):
    monkeypatch.setenv("QLORA_LANG", language)
    monkeypatch.setattr(numbers.sys, "prefix", str(tmp_path))
    run, cache = RunDir(tmp_path / "demo"), tmp_path / "cache"
    for folder in (run.adapter, cache / "wheels"):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(1000))
    day = argparse.Namespace(people=25, hours=3, price=0.4)
    told = dict(numbers.rows(run, cache, day))
    text = (KIT / file).read_text(encoding="utf-8")
    assert re.search(r"^\| 20\d\d-\d\d-\d\d \| demo \|$", text, re.M)
    assert [what for what in told if f"\n| {what} | " not in text] == [] and len(told) == 5
    _disk, loaded, folders, *_others = told.values()
    assert "1 kB" in loaded and "`adapter` 1 kB" in folders and "25 kB" in folders
    assert f"| {list(told.values())[4]} |" in text
