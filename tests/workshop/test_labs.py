"""Each lab says what is still wrong until it is repaired: with dots, with wrong answers that look right, with the solution."""

import json
import shutil

import nbformat
import pytest

from docs.workshop.solutions import SOLUTIONS, WRONG, solved
from helpers.runs import RunDir
from helpers.workshop import labs
from tests.conftest import ROOT

LABS = sorted((ROOT / "notebooks" / "labs").glob("lab*.ipynb"))


def marked(notebook) -> list:
    return [cell for cell in notebook.cells if "repair" in cell.metadata.get("tags", [])]


class Page:
    """A lab's cells, run in order in one namespace; `answer` puts another source into the marked cell and looks at the check."""

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
        return [self.run(cell.source) for cell in self.code[self.place + 1 :]][-1]


@pytest.fixture(scope="module")
def lab_run(trained_run, tmp_path_factory):
    """A copy of the finished training, in which the labs may write."""
    run = RunDir(tmp_path_factory.mktemp("labs") / "tiny")
    shutil.copytree(trained_run.path, run.path, ignore=shutil.ignore_patterns("merged", "gguf", "notebooks"))
    return run


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
def test_a_lab_is_green_with_its_solution_alone(lab, lab_run, monkeypatch):
    monkeypatch.setattr(labs, "lab_run", lambda: lab_run)
    page, name = Page(lab), lab.stem[:4]
    [cell] = marked(nbformat.read(lab, 4))
    written = lab_run.path / "labs" / f"{name}.json"
    dots = page.answer(cell.source)
    assert not dots.solved and "still to be written" in dots.sentence
    assert len(WRONG[cell.id]) >= 2
    for source, said in WRONG[cell.id]:
        wrong = page.answer(source)
        assert not wrong.solved and said in wrong.sentence, (source, wrong.sentence)
    assert not written.exists()
    right = page.answer(SOLUTIONS[cell.id])
    assert right.solved, right.sentence
    assert json.loads(written.read_text())["solved"] is True


@pytest.mark.parametrize("lab", LABS, ids=lambda path: path.stem)
def test_a_lab_and_its_solution_differ_in_the_marked_cell_alone(lab):
    asked, done = nbformat.read(lab, 4), solved(lab)
    differ = [a.id for a, b in zip(asked.cells, done.cells, strict=True) if a.source != b.source]
    assert differ == [cell.id for cell in marked(asked)] and "..." in marked(asked)[0].source
    assert 8 <= len(asked.cells) <= 13 and not any(cell.get("outputs") for cell in asked.cells)


def test_every_solution_belongs_to_a_marked_cell():
    ids = {cell.id for lab in LABS for cell in marked(nbformat.read(lab, 4))}
    assert ids == set(SOLUTIONS) == set(WRONG) and len(LABS) == len(labs.LABS) == 7


def test_an_unknown_lab_is_named(tmp_path):
    with pytest.raises(ValueError, match="There is no lab 'lab9': use lab1"):
        labs.check("lab9", RunDir(tmp_path), 1)
