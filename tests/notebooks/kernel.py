"""One kernel for all the notebooks that a test worker opens: the libraries are imported once, and it is emptied between
two.

tests/test_series.py runs each notebook in a kernel of its own.
"""

import contextlib
import os

import nbformat
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.conftest import ROOT

FOLDER = ROOT / "notebooks"
EMPTY = """
%reset -f
import os
for name in [name for name in os.environ if name.startswith("QLORA_")]:
    del os.environ[name]
os.environ.update({settings})
os.chdir({folder!r})
%reset -f
"""


@contextlib.contextmanager
def one_kernel():
    """A kernel `qlora` as (manager, client), shut down at the end."""
    manager, client = start_new_kernel(kernel_name="qlora", cwd=str(FOLDER))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def opened(kernel, path) -> NotebookClient:
    """The notebook at `path` as if it were just opened: no name is known, in its folder, settings are those of this
    process's environment."""
    book = nbformat.read(path, as_version=4)
    page = NotebookClient(book, km=kernel[0], timeout=300, resources={"metadata": {"path": FOLDER}})
    page.kc = kernel[1]
    settings = {name: value for name, value in os.environ.items() if name.startswith("QLORA_")}
    empty = EMPTY.format(settings=settings, folder=str(path.parent))
    page.execute_cell(new_code_cell(empty), 0, store_history=False)
    return page


def run(kernel, path) -> None:
    """All code cells of the notebook at `path`, once. Raises CellExecutionError of the first that fails."""
    page = opened(kernel, path)
    for index, cell in enumerate(page.nb.cells):
        if cell.cell_type == "code":
            page.execute_cell(cell, index)
