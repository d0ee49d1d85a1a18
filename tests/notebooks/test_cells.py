"""Each notebook, opened alone from a saved run, with every code cell executed twice in a row: its Korean edition, whose
code is the English one's, and which says nothing of ours in English.

The plain pass, in order, on a fresh run directory, in English, is in tests/test_series.py.
"""

import json
import re
import shutil

import nbformat
import pytest

from helpers.runs import RunDir
from helpers.train.best import HeldOut
from helpers.translate import build
from tests.notebooks.kernel import FOLDER, opened
from tests.notebooks.korean import english_in, english_of, in_english, not_ours

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SAID = {"02_login": "토큰이 없습니다", "08_compare_runs": "가장 좋은 것과 비교"}


def results(cell) -> list[str]:
    """What a cell shows, less what is about this very execution: progress bars, pictures,
    measured times, and what transformers prints on its first import."""
    shown = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            shown.append(output.text)
        elif output.output_type in ("execute_result", "display_data"):
            shown.append(output.data.get("text/plain", ""))
    text = re.sub(r"0x[0-9a-f]+", "0x", "".join(shown))
    timed = r"\d (s|ms|min)\b|\d(초|분)|it/s|tokens/s|<Figure|^\[INFO\] "
    return [line for line in text.splitlines() if not re.search(timed, line)]


def on_disk(folder) -> dict:
    """Every file and folder with its size and the time of its last change (nanoseconds)."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def codes(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.slow
def test_opened_alone_every_cell_twice(path, request, tmp_path, monkeypatch, kernel):
    run = request.getfixturevalue("merged_run" if path.stem >= "06" else "trained_run")
    run = RunDir(shutil.copytree(run.path, tmp_path / run.path.name))
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    [korean] = [built for built in build("ko") if built.name == path.name]
    page, before = opened(kernel, korean), on_disk(tmp_path)
    _language, *code = codes(nbformat.read(korean, 4))
    assert [in_english(cell.source) for cell in code] == [cell.source for cell in codes(nbformat.read(path, 4))]
    for index, cell in enumerate(page.nb.cells):
        if cell.cell_type != "code":
            continue
        page.execute_cell(cell, index)
        first = results(cell)
        page.execute_cell(cell, index)
        if "measures" not in cell.metadata.get("tags", []):  # a timing is not the same twice
            assert results(cell) == first, f"cell {index} gave another result the second time"
    if path.stem == "00_first_look":
        assert on_disk(tmp_path) == before, "the first look touched a run"
    outputs = json.dumps([cell.outputs for cell in codes(page.nb)], ensure_ascii=False)
    assert SAID.get(path.stem, "") in outputs and "missing from" not in outputs  # no glyph is missing in a chart
    known, summary = not_ours(run), HeldOut.read(run).summary
    if path.stem == "04_qlora_training":
        assert english_in(summary, known) == []
    known += summary  # on the other pages that of the English run, as it lies there
    assert english_of(page.nb, known) == []
    if path.stem == "06_evaluation":
        assert english_in(run.report_html.read_text(encoding="utf-8"), known) == []
