"""A JupyterLab of its own on this machine, and a page in it, driven as a person would: opened, run, stopped, loaded
again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.conftest import ROOT

BROWSER = shutil.which("chromium")
TOKEN = "only-here"
# what a first visit would ask about, and cells that are only drawn once they are scrolled to
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@contextlib.contextmanager
def jupyter_lab(folder: Path, runs: Path, python: str = sys.executable, **settings: str):
    """The address of a JupyterLab on 127.0.0.1 whose root is a copy of notebooks/ in `folder`; ended with its kernels.

    `python` has JupyterLab; the kernel `qlora` is the one of this environment, with this repository's helpers.
    `settings` are environment variables of the kernels.
    """
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("ko"))
    for name, values in SETTINGS.items():
        path = folder / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    own = {
        name: str(folder / name.lower()) for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTER_DATA_DIR": str(folder / "data")}
    own |= {"QLORA_RUNS_DIR": str(runs), "QLORA_PRESET": "tiny", "PYTHONPATH": str(ROOT), "JUPYTER_TOKEN": TOKEN}
    # a JupyterLab elsewhere finds the kernel here, as a pod's own does
    shutil.copytree(Path(sys.prefix) / "share/jupyter/kernels/qlora", folder / "data/kernels/qlora")
    log = folder / "server.log"
    with log.open("w") as file:
        command = [python, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--expose-app-in-browser"]
        command += ["--allow-root", f"--ServerApp.root_dir={folder / 'notebooks'}"]
        server = subprocess.Popen(command, env={**os.environ, **own, **settings}, stdout=file, stderr=file)
    try:
        yield _address(server, folder / "jupyter_runtime_dir", log)
    finally:
        server.terminate()  # shuts its kernels down
        server.wait(30)


def _address(server, runtime: Path, log: Path) -> str:
    """Waits until the server answers. Raises RuntimeError with its last lines when it ends instead."""
    end = time.monotonic() + 300  # a busy machine
    while server.poll() is None and time.monotonic() < end:
        for path in runtime.glob(f"jpserver-{server.pid}.json"):
            with contextlib.suppress(ValueError, OSError):  # being written, not listening yet
                address = json.loads(path.read_text())["url"]
                urllib.request.urlopen(f"{address}api/status?token={TOKEN}", timeout=5).close()
                return address
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


# JupyterLab's own, now and then, when it redraws cells in the middle of a change of theme or width (seen once in three
# runs)
REDRAWN = "Failed to execute 'removeChild' on 'Node': The node to be removed is not a child of this node."


class Page:
    """One notebook in a browser's tab. `errors` collects what the console calls an error."""

    def __init__(self, tab, address: str):
        self.tab, self.address, self.errors, self.name = tab, address, [], ""
        self.overloaded: list[str] = []  # what the server answered with a fault of its own, which it does under load
        tab.on("response", lambda answer: self.overloaded.append(answer.url) if answer.status >= 500 else None)
        tab.on("console", lambda told: self.errors.append(told.text) if told.type == "error" else None)
        tab.on("pageerror", lambda error: self.errors.append(str(error)) if REDRAWN not in str(error) else None)

    def open(self, name: str) -> None:
        """Open notebooks/NAME, and wait until its kernel is idle; once more, and said, where the server itself
        failed."""
        for again in (False, True):
            try:
                self.tab.goto(f"{self.address}doc/tree/{name}?token={TOKEN}")
                self.ready()
            except Exception:
                if again or not self.overloaded:
                    raise
            if not self.overloaded or again:
                return
            print(
                f"JupyterLab answered {len(self.overloaded)} times with a fault of its own; {name} is opened once more."
            )
            self.overloaded.clear()
            self.errors.clear()

    def ready(self) -> None:
        self.tab.wait_for_function(
            """() => { const panel = window.jupyterapp?.shell.currentWidget;
                return panel?.sessionContext?.isReady && panel.sessionContext.session?.kernel?.status === 'idle' }""",
            timeout=60_000,
        )

    def reload(self) -> None:
        """Save, and load the page again; the kernel lives on."""
        self.command("docmanager:save")
        self.tab.reload()
        self.ready()

    def write(self, cell: str, source: str) -> None:
        """Put `source` into the cell with this id, in place of what is there."""
        self.tab.evaluate(
            """([name, source]) => jupyterapp.shell.currentWidget.content.widgets.find(cell => cell.model.id === name)
                .model.sharedModel.setSource(source)""",
            [cell, source],
        )

    def command(self, name: str, wait: bool = True) -> None:
        """One of JupyterLab's commands, as its menus and keys give it."""
        self.tab.evaluate(
            "() => "
            f"{{ const done = jupyterapp.commands.execute('{name}'); if ({json.dumps(wait)}) return done.then(() => null) }}"
        )

    def run_all(self) -> list[dict]:
        """Run > Run All Cells, to its end; the cells with their outputs."""
        self.command("notebook:run-all-cells")
        return self.cells()

    def run_cell(self, cell: str, wait: bool = True) -> None:
        """Choose the cell with this id, and run it."""
        self.tab.evaluate(
            f"""() => {{ const book = jupyterapp.shell.currentWidget.content;
                book.activeCellIndex = book.widgets.findIndex(cell => cell.model.id === '{cell}') }}"""
        )
        self.command("notebook:run-cell", wait)

    def cells(self) -> list[dict]:
        """The code cells as they would be saved now."""
        book = self.tab.evaluate("() => jupyterapp.shell.currentWidget.content.model.toJSON()")
        return [cell for cell in book["cells"] if cell["cell_type"] == "code"]

    def cell(self, name: str):
        """The element of the cell with this id."""
        index = self.tab.evaluate(
            f"() => jupyterapp.shell.currentWidget.content.widgets.findIndex(cell => cell.model.id === '{name}')"
        )
        return self.tab.locator(f".jp-Cell[data-windowed-list-index='{index}']")

    def theme(self, name: str) -> None:
        """light or dark."""
        self.tab.evaluate(
            f"() => jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {name.title()}'}})"
        )
        self.tab.wait_for_selector(f"body[data-jp-theme-light='{json.dumps(name == 'light')}']", state="attached")

    def restart_kernel(self) -> None:
        """Kernel > Restart Kernel, with the question that it asks."""
        self.command("notebook:restart-kernel", wait=False)
        self.tab.locator(".jp-Dialog .jp-mod-accept").click()
        self.ready()

    def end(self) -> None:
        """Shut the kernel down, which frees its memory, and close the tab."""
        self.tab.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.tab.close()

    def kernel(self) -> str:
        return self.tab.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.name")


def outputs(cells: list[dict]):
    """Pairs of cell id and output."""
    return [(cell["id"], output) for cell in cells for output in cell["outputs"]]
