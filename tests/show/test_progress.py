"""The bar of a loop: in a notebook it is replaced in place and leaves nothing, elsewhere it is a line on stdout."""

import nbformat
import pytest
from nbclient import NotebookClient
from tqdm import std

from helpers.show import progress
from helpers.show.progress import Progress

SLOW = """
from helpers.show import progress
from datasets.utils.logging import enable_progress_bar
from huggingface_hub.utils import enable_progress_bars
enable_progress_bar()  # the kernel is shared, and a page may have switched them off
enable_progress_bars()
progress.DELAY = 0
from tqdm.auto import tqdm
from {module} import {name} as bar
for i in bar(range(3), desc="<b>rows", mininterval=0, disable=None):
    pass
"""


def test_elsewhere_it_is_one_line_on_stdout_and_is_cleared(monkeypatch, capsys):
    monkeypatch.setattr(progress, "DELAY", 0)
    assert list(Progress(range(3), desc="rows", mininterval=0)) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert "rows: 100%" in out and err == "" and "\n" not in out
    assert out.endswith("\r") and not out.split("\r")[-2].strip()


def test_what_is_soon_done_shows_nothing(capsys):
    assert list(Progress(range(3), desc="rows", mininterval=0)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "module, name",
    [
        ("helpers.show.progress", "Progress"),
        ("tqdm.auto", "tqdm"),  # transformers
        ("huggingface_hub.utils", "tqdm"),
        ("datasets.utils", "tqdm"),
    ],
)
def test_in_a_notebook_no_bar_is_a_widget_and_none_is_left(kernel, module, name):
    cell, seen = nbformat.v4.new_code_cell(SLOW.format(module=module, name=name)), []
    page = NotebookClient(nbformat.v4.new_notebook(cells=[cell]), km=kernel[0], timeout=60)
    page.kc = kernel[1]
    ready = nbformat.v4.new_code_cell("from helpers.show.notebook import setup\nsetup()")
    page.nb.cells.insert(0, ready)
    page.execute_cell(ready, 0)
    page.execute_cell(cell, 1)  # the libraries are imported
    original = page.process_message
    page.process_message = lambda message, *args: (seen.append(message), original(message, *args))[1]
    page.execute_cell(cell, 1)
    assert not [message for message in seen if message["msg_type"] == "comm_open"]  # how a widget begins
    shown = [m["content"]["data"]["text/html"] for m in seen if m["msg_type"].endswith("display_data")]
    assert any("&lt;b&gt;rows: 2 of 3" in line and "<progress" in line for line in shown), shown
    [left] = cell.outputs
    assert left.output_type == "display_data" and left.data == {"text/html": "", "text/plain": ""}


def test_bytes_are_told_as_people_say_them(monkeypatch):
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    bar = Progress(total=13_500_000_000, initial=1_500_000_000, unit="B", unit_scale=True, desc="model")
    bar.start_t -= 60
    assert "left" not in bar._line()
    bar.n = 4_500_000_000
    assert "model: 4.5 GB of 13.5 GB, 3 min left" in bar._line()
    assert Progress(unit=" rows", desc="reading")._line() == "<div>reading: 0 rows</div>"


def test_a_library_that_was_imported_first_gets_no_widget_either(monkeypatch):
    from tqdm import auto, notebook
    from transformers.utils import logging

    monkeypatch.setattr(notebook, "tqdm", notebook.tqdm)  # put back at the end
    monkeypatch.setattr(auto, "tqdm", std.tqdm)
    monkeypatch.setattr(progress, "in_notebook", lambda: False)
    progress.bars_without_widgets()
    assert auto.tqdm is std.tqdm
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    progress.bars_without_widgets()
    assert isinstance(logging.tqdm(range(3)), Progress)
