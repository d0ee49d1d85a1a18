"""Stored pages of the gallery with the texts and the frame of today; code and outputs stay those of their run.

python -m docs.refresh    after a change of text cells, of gallery.css or of docs/gallery_index.py
"""

from __future__ import annotations

import html
import re
import tempfile
from pathlib import Path

import nbformat

from docs.gallery_index import FOLDER, every_page
from docs.gallery_index import main as write_first_page
from docs.make_gallery import code_cells, executed, page
from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT

CELL = re.compile(
    r'(?s)<div class="cell border-box-sizing (\w+) rendered[^"]*" id="cell-id=([^"]+)">.*?'
    r'(?=<div class="cell border-box-sizing |</main>)'
)


def refreshed(stored: str, name: str) -> str:
    """The page `name` of today, with the code cells of the `stored` one. Raises KeyError for a cell that it lacks."""
    told = re.search(r"<nav><a [^>]+>[^<]+</a> · (.*?)</nav>", stored)
    kept = {cell[2]: cell[0] for cell in CELL.finditer(stored)}
    book = nbformat.read(every_page()[name], as_version=4)
    for cell in code_cells(book):
        cell.execution_count, cell.outputs = 1, []
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(book, copy := Path(folder) / f"{name}.ipynb")
        today = page(executed(copy), name, html.unescape(told[1]) if told else "")
    return CELL.sub(lambda cell: kept[cell[2]] if cell[1] == "code_cell" else cell[0], today)


def main() -> None:
    for name in every_page():
        path = FOLDER / f"{name}.html"
        stored = path.read_text(encoding="utf-8")
        if (today := refreshed(stored, name)) != stored:
            write_atomic(path, today)
            print(path.relative_to(PROJECT_ROOT))
    write_first_page()


if __name__ == "__main__":
    main()
