"""Each lab says what is still wrong until it is repaired: with dots, with wrong answers that look right, with the
solution."""

import json
import os
import re
import shutil

import nbformat
import pytest

from docs.workshop.solutions import SOLUTIONS, WRONG, solved
from helpers.data.labels import encode
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import Answer
from helpers.train.checkpoints import checkpoints
from helpers.workshop import labs
from tests.conftest import ROOT

LABS = sorted((ROOT / "notebooks" / "labs").glob("lab*.ipynb"))


def marked(notebook) -> list:
    return [cell for cell in notebook.cells if "repair" in cell.metadata.get("tags", [])]


class Page:
    """A lab's cells, run in order in one namespace; `answer` puts another source into the marked cell and looks at the
    check."""

    def __init__(self, path):
        self.code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        self.names: dict = {}
        self.place = self.code.index(marked(nbformat.read(path, 4))[0])
        for cell in self.code[: self.place]:
            self.run(cell.source)

    def run(self, source: str):
        lines = compile(source, "cell", "exec", flags=0x0400)  # ast.PyCF_ONLY_AST
        *first, last = lines.body
        import ast

        if not isinstance(last, ast.Expr):
            exec(compile(lines, "cell", "exec"), self.names)
            return None
        exec(compile(ast.Module(first, []), "cell", "exec"), self.names)
        return eval(compile(ast.Expression(last.value), "cell", "eval"), self.names)

    def answer(self, source: str):
        self.run(source)
        shown = [self.run(cell.source) for cell in self.code[self.place + 1 :]]
        return [value for value in shown if isinstance(value, Answer)][-1]


def kinds(lab) -> list[str]:
    """The runs that a lab is tried on: those that differ in a file that its page reads."""
    read = set(re.findall(r"\brun\.(\w+)", lab.read_text(encoding="utf-8")))
    weak = ["weak"] if read - {"load_config", "path"} else []
    return ["good", *weak, *(["one checkpoint"] if "trainer" in read else [])]


CASES = [(lab, kind) for lab in LABS for kind in kinds(lab)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, trained_run):
    """A finished training, the small one that the labs make for themselves, and one of few steps, which saved once."""
    made = {}

    def run(kind: str) -> RunDir:
        if kind in made:
            return made[kind]
        folder = tmp_path_factory.mktemp("labs")
        if kind == "weak":
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("QLORA_RUNS_DIR", str(folder))
                patch.setenv("QLORA_LORA_R", "2")  # of somebody's longer run: the small one does not take it over
                made[kind] = labs.lab_run()
            return made[kind]
        made[kind] = RunDir(folder / "tiny")
        shutil.copytree(trained_run.path, made[kind].path, ignore=shutil.ignore_patterns("merged", "gguf", "notebooks"))
        if kind == "one checkpoint":
            for folder in checkpoints(made[kind].trainer)[1:]:
                shutil.rmtree(folder)
        return made[kind]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("lab, kind", CASES, ids=[f"{lab.stem}-{kind}" for lab, kind in CASES])
def test_a_lab_is_green_with_its_solution_alone(lab, kind, runs, monkeypatch):
    run = runs(kind)
    monkeypatch.setattr(labs, "lab_run", lambda: run)
    page, name = Page(lab), lab.stem.split("_")[0]
    [cell] = marked(nbformat.read(lab, 4))
    written = run.path / "labs" / f"{name}.json"
    dots = page.answer(cell.source)
    assert not dots.solved and "still to be written" in dots.sentence and not written.exists()
    assert len(WRONG[cell.id]) >= 5
    for tries, (source, said) in enumerate(WRONG[cell.id], start=1):
        wrong = page.answer(source)
        assert not wrong.solved and said in wrong.sentence, (source, wrong.sentence)
        told = json.loads(written.read_text())
        assert told["solved"] is False and told["tries"] == tries and told["at"] > 1e9
    right = page.answer(SOLUTIONS[cell.id])
    assert right.solved, right.sentence
    assert json.loads(written.read_text())["solved"] is True
    page.answer(WRONG[cell.id][0][0])
    assert json.loads(written.read_text())["solved"] is True, "what is solved stays solved"


@pytest.mark.parametrize("max_length", [16, 4096])
def test_the_first_lab_is_solved_wherever_the_run_cuts_its_rows(tmp_path, max_length):
    config = RunConfig.load("tiny", max_length=max_length)
    tokenizer = load_tokenizer(config)
    turns = [{"role": "user", "content": "Dinner with Mateo? " * 9}, {"role": "assistant", "content": "On Thursday."}]
    row = encode(tokenizer, turns, 4096)
    padded, rows = [row | {"attention_mask": [1] * len(row["input_ids"])}] * 24, [{"messages": turns}] * 24
    seen = {"rows": rows, "padded": padded, "tokenizer": tokenizer, "config": config}
    told = labs.check("lab1", RunDir(tmp_path), lambda row: row["labels"], **seen)
    assert len(row["input_ids"]) > 16 and told.solved, told.sentence


@pytest.mark.slow
def test_a_model_that_lost_its_adapter_is_a_sentence(runs, monkeypatch):
    run = runs("good")
    monkeypatch.setattr(labs, "lab_run", lambda: run)
    page = Page(next(lab for lab in LABS if lab.stem.startswith("lab6")))
    told = page.answer("base = held_out_nll(model.unload(), rows)")
    assert not told.solved and "model has lost its adapter" in told.sentence


def test_the_small_run_has_the_settings_of_nobody_else(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    for name in ("QLORA_MAX_LENGTH", "QLORA_LORA_R"):
        monkeypatch.setenv(name, "64")
    monkeypatch.setattr(labs, "run_notebooks", lambda *_: seen.update(os.environ))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "trained.json").write_text("{}")  # of whose checkpoints none is left
    assert labs.lab_run().path.name == labs.LAB_RUN
    assert seen["QLORA_MAX_STEPS"] == "8" and "QLORA_MAX_LENGTH" not in seen and seen["QLORA_RUNS_DIR"] == str(tmp_path)
    assert os.environ["QLORA_MAX_LENGTH"] == "64" and "QLORA_MAX_STEPS" not in os.environ


def test_an_adapter_that_changes_nothing_has_nothing_to_lose(tmp_path):
    import torch

    four = torch.ones(2, 2)
    told = labs.check("lab5", RunDir(tmp_path), four, four=four, change=torch.zeros(2, 2))
    assert not told.solved and "changes nothing" in told.sentence


def test_a_right_answer_counts_on_a_disk_that_takes_none(tmp_path, monkeypatch):
    (tmp_path / "labs").write_text("in the way")
    told = labs.check("lab4", RunDir(tmp_path), None, folder=tmp_path)
    assert "could not be written down" in told.sentence


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
def test_a_lab_and_its_solution_differ_in_the_marked_cell_alone(lab):
    asked, done = nbformat.read(lab, 4), solved(lab)
    differ = [a.id for a, b in zip(asked.cells, done.cells, strict=True) if a.source != b.source]
    assert differ == [cell.id for cell in marked(asked)] and "..." in marked(asked)[0].source
    assert 8 <= len(asked.cells) - 1 <= 13 and not any(cell.get("outputs") for cell in asked.cells)


def test_every_solution_belongs_to_a_marked_cell():
    assert [lab.stem[:4] for lab, kind in CASES if kind == "one checkpoint"] == ["lab4"] and len(CASES) > 20
    ids = {cell.id for lab in LABS for cell in marked(nbformat.read(lab, 4))}
    assert ids == set(SOLUTIONS) == set(WRONG) and len(LABS) == len(labs.LABS)


def test_an_unknown_lab_is_named(tmp_path):
    with pytest.raises(ValueError, match="There is no task 'lab99': use lab1"):
        labs.check("lab99", RunDir(tmp_path), 1)
