"""Run notebooks in order without a browser; the executed copies land in the run directory.

python -m helpers.series [PRESET [NAME ...]]     all of them, or those whose names begin so, such as 04 or 00_plan

With QLORA_LANG=ko the Korean ones, whose copies land in its own folder there.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_time
from helpers.show.words import N_, _, language
from helpers.translate import build

if TYPE_CHECKING:
    from jupyter_client.manager import KernelManager

NOTEBOOKS = PROJECT_ROOT / "notebooks"
# what most pages do first: the next page's kernel does it while one works. Bars first: libraries keep what they import
AHEAD = """exec("from helpers.show.notebook import setup; setup()", {})
exec("import datasets, matplotlib.pyplot, transformers; transformers.PreTrainedModel", {})"""
RESULTS = (  # what to look at after a series, and where it lies in the run
    (N_("report"), "report_html"),
    (N_("replies of base, adapter and merged model"), "comparisons"),
    (N_("merge report"), "merge_report"),
    (N_("adapter"), "adapter"),
    (N_("merged model"), "merged"),
    (N_("the same for llama.cpp and Ollama"), "gguf"),
    (N_("executed notebooks"), "notebooks"),
)


def series() -> list[Path]:
    """The numbered notebooks in order, 00_first_look first; the appendices A1, A2 ... are not among them.

    Those of QLORA_LANG; the English ones where that language has none (`python -m helpers.translate build`).
    """
    own = sorted((NOTEBOOKS / language()).glob("[0-9][0-9]_*.ipynb"))
    return own or sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def copies(run: RunDir) -> Path:
    """Where the executed notebooks of QLORA_LANG lie in a run."""
    return run.notebooks if language() == "en" else run.notebooks / language()


def chosen(names: list[str]) -> list[Path]:
    """The notebooks of the series whose names begin with one of `names`, in order; all without any.

    A beginning has both digits at least: "00" means two notebooks, "00_plan" one. Raises ValueError for any other.
    """
    matches: set[Path] = set()
    for name in names:
        start = name.rpartition("/")[2].removesuffix(".ipynb")
        match = [path for path in series() if len(start) > 1 and path.stem.startswith(start)]
        if not match:
            known = ", ".join(path.stem for path in series())
            sentence = _("There is no notebook {name!r} to run: use {known}, or a beginning such as 04.")
            raise ValueError(sentence.format(name=name, known=known))
        matches.update(match)
    return sorted(matches) if names else series()


def run_notebooks(notebooks: list[Path], preset: str) -> RunDir:
    """Execute `notebooks` in order with papermill under the kernel `qlora`; executed copies go to run.notebooks.

    Raises RuntimeError that names the notebook and the cell that failed, with its error.
    """
    os.environ["QLORA_PRESET"] = preset
    run = RunDir.open(RunConfig.load(preset))
    copies(run).mkdir(parents=True, exist_ok=True)
    for drawings in {folder / "drawings" for folder in (NOTEBOOKS, series()[0].parent)}:  # the copies show them
        if drawings.exists():
            shutil.copytree(drawings, run.notebooks / drawings.relative_to(NOTEBOOKS), dirs_exist_ok=True)
    # talk to the kernels over files of this run: nobody else can listen. Linux allows them 107 characters
    short = None if len(tempfile.gettempdir()) < 60 else "/tmp"
    with ExitStack() as stack:
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="qlora-", dir=short))
        waiting = None
        for notebook, following in zip_longest(notebooks, notebooks[1:]):
            print(f"{notebook.stem} ... ", end="", flush=True)  # one line a notebook
            start = time.perf_counter()
            kernel = waiting or _kernel(notebook, sockets, stack)
            waiting = following and _kernel(following, sockets, stack, AHEAD)
            try:
                _run_notebook(notebook, copies(run) / notebook.name, kernel)
            except RuntimeError:
                print(_("stopped"), flush=True)
                raise
            print(_("done in {time}").format(time=human_time(time.perf_counter() - start)), flush=True)
    return run


def _kernel(notebook: Path, sockets: str, stack: ExitStack, first: str = "") -> KernelManager:
    """A kernel for `notebook`, which runs `first` before it listens; it ends with `stack`, if not before."""
    from jupyter_client.manager import KernelManager

    client = "jupyter_client.asynchronous.AsyncKernelClient"  # papermill waits for messages, not in a thread
    kernel = KernelManager(kernel_name="qlora", transport="ipc", ip=f"{sockets}/{notebook.stem}", client_class=client)
    log = "--IPKernelApp.log_level=CRITICAL"  # what a kernel logs is for its developers
    kernel.start_kernel(cwd=notebook.parent, extra_arguments=[log, f"--IPKernelApp.exec_lines={first}"])
    stack.callback(lambda: kernel.has_kernel and kernel.shutdown_kernel(now=True))
    return kernel


def _run_notebook(notebook: Path, copy: Path, kernel: KernelManager) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            notebook,
            copy,
            kernel_name="qlora",
            progress_bar=False,
            start_timeout=600,  # seconds; libraries on a network volume are slow to import
            iopub_timeout=60,  # a busy machine may deliver the output late
            km=kernel,
        )
    except PapermillExecutionError as error:
        sentence = _("{notebook} failed in cell {cell}: {kind}: {reason}\nThe executed copy shows where: {copy}")
        values = {"notebook": notebook.name, "cell": error.cell_index, "kind": error.ename, "reason": error.evalue}
        raise RuntimeError(sentence.format(**values, copy=copy)) from None
    except DeadKernelError:
        sentence = _(
            "{notebook}: the kernel died, most likely for lack of memory.\nThe last cell with an output is in {copy}"
        )
        raise RuntimeError(sentence.format(notebook=notebook.name, copy=copy)) from None
    finally:
        kernel.shutdown_kernel()
        _join_streams(copy)


def _join_streams(copy: Path) -> None:
    """What a cell printed piece by piece (a reply word by word, a progress bar) as one text, as JupyterLab shows it."""
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    if copy.exists():
        book, _ = CoalesceStreamsPreprocessor().preprocess(nbformat.read(copy, as_version=4), {})
        write_atomic(copy, nbformat.writes(book))


def main() -> int:
    """The series from the command line; 0 when every notebook ran."""
    start = time.perf_counter()
    try:
        config = RunConfig.load(sys.argv[1] if len(sys.argv) > 1 else None)
        values = {"run": config.run_name, "model": config.model_id, "data": config.dataset_id}
        print(_("Run {run}: {model} on {data}").format(**values))
        if (NOTEBOOKS / language() / "terms.md").exists():
            build(language())
        run = run_notebooks(chosen(sys.argv[2:]), config.preset)
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n" + _("The series ran in {time}. Where to look:").format(time=human_time(time.perf_counter() - start)))
    for what, name in RESULTS:
        print(f"  {_(what):42} {getattr(run, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
