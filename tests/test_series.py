import re
from pathlib import Path

import nbformat
import psutil
import pytest

from helpers import series as series_module
from helpers.series import run_notebooks, series


@pytest.fixture(autouse=True)
def runs(request, tmp_path, monkeypatch):
    """Each test has runs of its own, but for the one that reads the series."""
    if "whole_run" not in request.fixturenames:
        monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path / "runs"))


def notebook(path, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


def test_series_begins_with_the_first_look_and_goes_on_in_order():
    names = [path.stem for path in series()]
    assert names[:3] == ["00_first_look", "00_plan", "01_env_setup"] and names == sorted(names)
    assert {path.name for path in series()} == {path.name for path in series_module.NOTEBOOKS.glob("[0-9]*.ipynb")}


def test_single_notebooks_can_be_chosen():
    assert series_module.chosen([]) == series()
    assert [path.stem[:2] for path in series_module.chosen(["06", "04"])] == ["04", "06"]


@pytest.mark.parametrize(
    "asked, run",
    [
        (["00"], ["00_first_look", "00_plan"]),
        (["00_plan"], ["00_plan"]),
        (["00_p", "01"], ["00_plan", "01_env_setup"]),
        (["00", "00_plan"], ["00_first_look", "00_plan"]),  # each once
        (["00_first_look.ipynb", "notebooks/01_env_setup.ipynb"], ["00_first_look", "01_env_setup"]),
    ],
)
def test_a_beginning_of_the_name_is_enough(asked, run):
    assert [path.stem for path in series_module.chosen(asked)] == run


@pytest.mark.parametrize("name", ["4", "", "0", "00_x", "A1", "04.", "00_planned", "0?", "55"])
def test_what_is_no_notebook_is_told_with_those_that_are(name):
    told = f"no notebook {re.escape(repr(name))} to run: use 00_first_look, 00_plan, 01_"
    with pytest.raises(ValueError, match=told):
        series_module.chosen(["04", name])


def test_a_long_temporary_folder_does_not_reach_the_sockets(tmp_path, monkeypatch):
    """Linux cuts the name of a socket at 107 characters."""
    monkeypatch.setattr(series_module.tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    Path(series_module.tempfile.gettempdir()).mkdir()
    run_notebooks([notebook(tmp_path / "09_fine.ipynb", "x = 1")], "tiny")


@pytest.mark.slow
def test_every_notebook_runs_in_order(whole_run):
    """The plain pass, on a fresh run directory. In test_cells each notebook is opened alone, every cell twice."""
    for path in series():
        copy = nbformat.read(whole_run.notebooks / path.name, as_version=4)
        code = [cell for cell in copy.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code) and whole_run.report_html.exists()
    written = sorted(path.name for path in whole_run.gguf.iterdir())
    files = [f"model-{kind}.gguf" for kind in ("f16", "q4_k_m", "q8_0")]
    assert written == ["Modelfile", "adapter-f16.gguf", *files]  # and nothing half-written


@pytest.mark.parametrize(("language", "folder", "done"), [("en", "", "done in"), ("ko", "ko/", "완료(")])
def test_executed_copy_lands_in_the_run(language, folder, done, tmp_path, monkeypatch, capfd):
    """In a fresh folder of runs, as a participant's first lab does it."""
    monkeypatch.setenv("QLORA_LANG", language)
    run = run_notebooks([notebook(tmp_path / "09_fine.ipynb", "import os; print(os.environ['QLORA_PRESET'])")], "tiny")
    copy = nbformat.read(run.notebooks / f"{folder}09_fine.ipynb", as_version=4)
    assert copy.cells[0].outputs[0].text == "tiny\n"
    out, err = capfd.readouterr()
    assert f"09_fine ... {done}" in out and "encryption" not in err


def test_the_terminal_shows_one_line_a_notebook_and_nothing_that_the_kernel_logs(tmp_path, capfd):
    stray = "import sys; get_ipython().kernel.parent.log.error('stray'); print('seen', file=sys.stderr)"
    pages = [notebook(tmp_path / f"0{number}_fine.ipynb", stray) for number in (8, 9)]
    run_notebooks(pages, "tiny")
    out, err = capfd.readouterr()
    assert re.fullmatch(r"(0\d_fine \.\.\. done in [^\n]+\n){2}", out) and "stray" not in err
    with pytest.raises(RuntimeError):
        run_notebooks([notebook(tmp_path / "09_bad.ipynb", "stop")], "tiny")
    assert capfd.readouterr().out == "09_bad ... stopped\n"


def test_what_was_printed_in_pieces_is_one_text_in_the_copy(tmp_path):
    """Also in the copy of a page that stopped; what is shown in between keeps its place."""
    piecewise = """import time
for piece in ("a ", "b", "\\n", "1 of 2", "\\r2 of 2"):
    print(piece, end="", flush=True)
    time.sleep(0.3)
display("shown")
print("c")
stop"""
    with pytest.raises(RuntimeError, match="cell 0: NameError"):
        run_notebooks([notebook(tmp_path / "09_slow.ipynb", piecewise)], "tiny")
    copy = nbformat.read(tmp_path / "runs/tiny/notebooks/09_slow.ipynb", as_version=4)
    cell = next(cell for cell in copy.cells if cell.source == piecewise)
    shown = [output.get("text", output.output_type) for output in cell.outputs]
    assert shown == ["a b\n2 of 2", "display_data", "c\n", "error"]


def test_a_kernel_that_waits_for_its_page_has_imported_what_most_pages_need(tmp_path):
    """Without a name that the page did not give itself: it would hide an import that is missing there. And a bar is the
    page's own: a library that was imported before `setup` would show a widget, which nobody can see again."""
    seen = "import sys; print('transformers.modeling_utils' in sys.modules, 'transformers' in dir())"
    bar = "from helpers.show.notebook import setup; setup()\nfrom datasets.utils import tqdm\n"
    bar += "print([type.__module__ for type in tqdm.__mro__ if 'notebook' in type.__module__])"
    run = run_notebooks([notebook(tmp_path / f"0{number}_fine.ipynb", seen, bar) for number in (7, 8, 9)], "tiny")
    copies = [nbformat.read(run.notebooks / f"0{number}_fine.ipynb", as_version=4) for number in (7, 8, 9)]
    printed = [[cell.outputs[0].text for cell in copy.cells] for copy in copies]
    assert printed == [["False False\n", "[]\n"], *[["True False\n", "[]\n"]] * 2]


def test_no_kernel_outlives_the_series(tmp_path):
    """Neither that of the page that failed nor the one that waited for the page behind it."""
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(RuntimeError, match="cell 0: NameError"):
        run_notebooks([notebook(tmp_path / f"0{number}_bad.ipynb", "stop") for number in (8, 9)], "tiny")
    assert set(psutil.Process().children(recursive=True)) == before


@pytest.mark.parametrize(
    ("name", "cells", "told"),
    [
        ("bad", ("x = 1", "raise ValueError('no such thing')"), "failed in cell 1: ValueError: no such thing"),
        ("dead", ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)",), ": the kernel died"),
    ],
)
def test_how_a_notebook_failed_is_named(tmp_path, name, cells, told):
    with pytest.raises(RuntimeError, match=f"09_{name}.ipynb ?{told}"):
        run_notebooks([notebook(tmp_path / f"09_{name}.ipynb", *cells)], "tiny")


def test_command_line_ends_with_one_sentence_for_a_bad_preset(monkeypatch, capsys):
    monkeypatch.setattr(series_module.sys, "argv", ["series", "huge"])
    assert series_module.main() == 1
    assert capsys.readouterr().err.startswith("preset='huge' is not known")
