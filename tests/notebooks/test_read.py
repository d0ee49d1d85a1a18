"""Every output is read: the text beside a cell that shows a table, a chart or rows says which number to look at, and a
number that a page quotes of the demo comes from the demo's own output, by name."""

import re

import nbformat
import pytest

from docs.figures import QUOTED
from tests.conftest import ROOT

SERIES = sorted((ROOT / "notebooks").glob("0*.ipynb"))
SHOWN = re.compile(
    r"^(?:display\(.*|.*(?<!def ))\b(?:Table|\w*_(?:table|chart|picture)|xray|look_at|places|table)\(", re.M
)
NOT_READ = re.compile(r"check\(\"|written = |DETACHED|= standing\(|vote_table|PROBE")
READ = re.compile(
    r"\b(?:[Ll]ook (?:at|how|where|first|which|what)|[Rr]ead the column|[Cc]ompare the|[Ww]atch the|the last line says"
    r"|(?:Red|green) means|Check four things|Can you see the fault|Whatever stands at the top"
    r"|Is (?:any row|everything|that more|the first line)|Where is the star|Which field|What do the models say"
    r"|The first lines?\b|The last table|[Rr]ead before you cut)"
)
DEMO = re.compile(r"In the demo [^.]*(?:\.\d[^.]*)*")  # to the end of the sentence
OF = re.compile(r"\bof \d+|\b\d+ ?bits?\b|16bit-base")  # the page's own numbers: how many were asked, formats


def beside(book, index: int) -> str:
    """The text cell before a code cell, and the one after it, past other code cells."""
    text = [(i, cell.source) for i, cell in enumerate(book.cells) if cell.cell_type == "markdown"]
    before, after = ([source for i, source in text if i < index][-1:], [s for i, s in text if i > index][:1])
    return "\n".join(before + after)


@pytest.mark.parametrize("path", SERIES, ids=lambda path: path.stem)
def test_a_text_says_where_to_look(path):
    book = nbformat.read(path, as_version=4)
    shown = [i for i, cell in enumerate(book.cells) if cell.cell_type == "code" and shows(cell.source)]
    assert [book.cells[i].id for i in shown if not READ.search(beside(book, i))] == []


def shows(code: str) -> bool:
    return bool(SHOWN.search(code)) and not NOT_READ.search(code)


@pytest.mark.parametrize("path", SERIES, ids=lambda path: path.stem)
def test_a_number_of_the_demo_has_a_name(path):
    """Then tests/docs/test_figures.py compares it with what the demo printed."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert [bare for source in cells for bare in without_a_name(source)] == []


def without_a_name(text: str) -> list[str]:
    """The sentences about the demo that hold a number without a name."""
    return [said[0] for said in DEMO.finditer(OF.sub("", QUOTED.sub("", text))) if re.search(r"\d", said[0])]


def test_what_the_tests_above_would_find():
    assert shows("display(curves_chart(trials))") and shows("Table(rows, caption='x')") and not shows("x = 3")
    assert not shows('display(check("06.1", run))\nTable([])')
    assert READ.search("Look at the last column") and not READ.search("The same forks on rented machines.")
    assert without_a_name("Fine. In the demo it was 7 of 20.") == ["In the demo it was 7 "]
    assert without_a_name("In the demo it was 0.7<!--first.right--> of 20. Then 3.") == []
