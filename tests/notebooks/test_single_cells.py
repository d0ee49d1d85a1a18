"""A section that the page calls runnable after the restart cell alone really is: in one kernel, each section in a
namespace that holds nothing but what the restart cell left.

The page says it in one line: "**After the next cell alone, you can run:** Section A · First → Last". An arrow means all
sections from the first to the last.
"""

import re
import shutil

import pytest
from nbformat.v4 import new_code_cell

from tests.conftest import ROOT
from tests.notebooks.kernel import opened

NOTEBOOKS = {path.stem[:2]: path for path in (ROOT / "notebooks").glob("*.ipynb")}
PROMISE = re.compile(r"\*\*After the next cell alone, you can run:\*\* (.+?)(?:, once [^.]*)?\.(?:\s|$)", re.S)
FORGET = """
for _name in set(globals()) - set(_kept):
    if not _name.startswith("_"):
        del globals()[_name]
del _name
"""


def sections(book) -> dict[str, list[int]]:
    """Heading -> its code cells, for the sections after the restart cell."""
    found, heading = {}, None
    for index, cell in enumerate(book.cells):
        if cell.cell_type == "markdown":
            for title in re.findall(r"^##+ (.+)$", cell.source, re.M):
                heading = title.rstrip("?")
                found[heading] = []
        elif heading:
            found[heading].append(index)
    return found


def promised(book) -> list[str]:
    """The headings in the page's promise, arrows spelled out. Raises AssertionError for one that is no heading."""
    line = PROMISE.search(next(cell.source for cell in book.cells if PROMISE.search(cell.source))).group(1)
    known, names = list(sections(book)), []
    for part in " ".join(line.split()).split(" · "):
        first, _, last = (name.strip().rstrip("?") for name in part.partition("→"))
        assert first in known and (last or first) in known, f"{part!r} is not a heading of this page"
        names += known[known.index(first) : known.index(last or first) + 1]
    return names


@pytest.mark.parametrize(
    "number", sorted(n for n, path in NOTEBOOKS.items() if "After the next cell alone" in path.read_text())
)
@pytest.mark.slow
def test_every_section_that_the_page_promises_runs_alone(number, whole_run, tmp_path, monkeypatch, kernel):
    shutil.copytree(whole_run.path, tmp_path / whole_run.path.name)
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    page = opened(kernel, NOTEBOOKS[number])
    parts, names = sections(page.nb), promised(page.nb)
    assert names and all(parts[name] for name in names)

    def execute(index: int) -> None:
        page.execute_cell(page.nb.cells[index], index, store_history=False)

    page.nb.cells.append(between := new_code_cell("_kept = list(globals())"))
    last = len(page.nb.cells) - 1
    [parameters] = [i for i, cell in enumerate(page.nb.cells) if "parameters" in cell.metadata.get("tags", [])]
    for index in (parameters, *parts["Start here after a restart"], last):
        execute(index)
    between.source = FORGET
    for name in names:
        execute(last)
        for index in parts[name]:
            execute(index)


def test_the_long_pages_promise_it():
    assert {"03", "04", "05", "06", "07"} <= {
        n for n, path in NOTEBOOKS.items() if "After the next cell alone" in path.read_text()
    }
