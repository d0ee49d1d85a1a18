"""What a Korean page says when it stops, in a lab, and on the class's board. tests/notebooks/test_cells.py runs all pages."""

import shutil

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from helpers.runs import RunDir
from helpers.translate import build
from helpers.workshop.board import page
from tests.notebooks.kernel import opened, run
from tests.notebooks.korean import english_in, english_of, not_ours


def korean(name: str):
    [path] = [path for path in build("ko") if path.stem.startswith(name)]
    return path


def test_the_errors_of_a_korean_page_are_korean(tmp_path, monkeypatch, kernel):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    with pytest.raises(CellExecutionError, match="없습니다. 먼저"):
        run(kernel, korean("06_evaluation"))


@pytest.mark.slow
def test_a_korean_lab_and_the_board_show_no_english_sentence_of_ours(whole_run, tmp_path, monkeypatch, kernel):
    """All labs by hand: proofs.proof_korean_pages."""
    shutil.copytree(whole_run.path, tmp_path / whole_run.path.name, ignore=shutil.ignore_patterns("gguf", "merged"))
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    lab, known = opened(kernel, korean("lab13")), not_ours(RunDir(tmp_path / whole_run.path.name))
    for index, cell in enumerate(lab.nb.cells):
        if cell.cell_type == "code":
            lab.execute_cell(cell, index)
    assert english_of(lab.nb, known) == [] and any(cell.get("outputs") for cell in lab.nb.cells)
    monkeypatch.setenv("QLORA_LANG", "ko")
    assert english_in(page(tmp_path), known) == []


def test_an_english_sentence_of_ours_would_be_seen():
    cell = nbformat.v4.new_code_cell(
        "1", outputs=[nbformat.v4.new_output("stream", name="stdout", text="행 3개: 24 rows to train on now\n")]
    )
    [found] = english_of(nbformat.v4.new_notebook(cells=[cell]), "")
    assert "rows to train on now" in found
    assert english_of(nbformat.v4.new_notebook(cells=[cell]), "24 rows to train on now") == []
