"""The Korean edition runs: the same code cells, what they print in Korean. The cheap pages stand for all, their code is
the English one's."""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.languages import CELL, messages
from helpers.translate import build
from tests.conftest import ROOT


def shown(cell) -> str:
    """Texts and tables of a cell's outputs."""
    texts = [output.get("text", "") + json.dumps(output.get("data", {}), ensure_ascii=False) for output in cell.outputs]
    return "\n".join(texts)


def in_english(code: str) -> str:
    """A Korean code cell with the literals of the English: all the rest of it is the same."""
    for _, message in messages("ko", ROOT):
        if message.context == CELL:
            code = code.replace(f'"{message.string}"', f'"{message.id}"')
    return code


@pytest.mark.parametrize("name, said", [("02_login", "토큰이 없습니다"), ("08_compare_runs", "가장 좋은 것과 비교")])
def test_a_korean_page_runs_and_speaks_korean(name, said, whole_run, monkeypatch):
    monkeypatch.delenv("QLORA_LANG", raising=False)
    [path] = [path for path in build("ko") if path.stem == name]
    book, english = nbformat.read(path, 4), nbformat.read(ROOT / "notebooks" / path.name, 4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [in_english(cell.source) for cell in code[1:]] == [c.source for c in english.cells if c.cell_type == "code"]
    NotebookClient(book, kernel_name="qlora", timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    outputs = "\n".join(map(shown, code))
    assert said in outputs and "missing from" not in outputs  # no glyph is missing in a chart


def test_the_errors_of_a_korean_page_are_korean(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    [path] = [path for path in build("ko") if path.stem == "06_evaluation"]
    book = nbformat.read(path, 4)
    book.cells = book.cells[:5]
    client = NotebookClient(
        book, kernel_name="qlora", timeout=300, allow_errors=True, resources={"metadata": {"path": path.parent}}
    )
    client.execute()
    assert any(
        "없습니다. 먼저" in output.get("evalue", "") for cell in book.cells for output in cell.get("outputs", [])
    )
