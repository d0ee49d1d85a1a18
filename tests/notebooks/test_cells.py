"""Each notebook, opened alone from a saved run, with every code cell executed twice in a row.

The plain pass, in order, on a fresh run directory, is in tests/test_series.py.
"""

import re
import shutil

import pytest

from tests.notebooks.kernel import FOLDER, opened

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


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
    return [
        line for line in text.splitlines() if not re.search(r"\d (s|ms|min)\b|it/s|tokens/s|<Figure|^\[INFO\] ", line)
    ]


def on_disk(folder) -> dict:
    """Every file and folder with its size and the time of its last change (nanoseconds)."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.slow
def test_opened_alone_every_cell_twice(path, request, tmp_path, monkeypatch, kernel):
    run = request.getfixturevalue("merged_run" if path.stem >= "06" else "trained_run")
    shutil.copytree(run.path, tmp_path / run.path.name)
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    page, before = opened(kernel, path), on_disk(tmp_path)
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
