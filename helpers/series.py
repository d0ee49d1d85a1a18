"""Run notebooks in order without a browser; the executed copies land in the run directory.

python -m helpers.series [PRESET [NAME ...]]     all of them, or those whose names begin so, such as 04 or 00_plan
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_time

NOTEBOOKS = PROJECT_ROOT / "notebooks"


def series() -> list[Path]:
    """The numbered notebooks in order, 00_first_look first; the appendices A1, A2 ... are not among them."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def chosen(names: list[str]) -> list[Path]:
    """The notebooks of the series whose names begin with one of `names`, in order; all without any.

    A beginning has both digits at least: "00" means two notebooks, "00_plan" one. Raises ValueError for any other.
    """
    found: set[Path] = set()
    for name in names:
        start = name.rpartition("/")[2].removesuffix(".ipynb")
        meant = [path for path in series() if len(start) > 1 and path.stem.startswith(start)]
        if not meant:
            known = ", ".join(path.stem for path in series())
            raise ValueError(f"There is no notebook {name!r} to run: use {known}, or a beginning such as 04.")
        found.update(meant)
    return sorted(found) if names else series()


def run_notebooks(notebooks: list[Path], preset: str) -> RunDir:
    """Execute `notebooks` in order with papermill under the kernel `qlora`; executed copies go to run.notebooks.

    Raises RuntimeError that names the notebook and the cell that failed, with its error.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    os.environ["QLORA_PRESET"] = preset
    run = RunDir.open(RunConfig.load(preset))
    shutil.copytree(NOTEBOOKS / "drawings", run.notebooks / "drawings", dirs_exist_ok=True)  # the copies show them
    # talk to the kernel over files of this run: nobody else can listen. Linux allows them 107 characters
    short = None if len(tempfile.gettempdir()) < 60 else "/tmp"
    sockets = tempfile.mkdtemp(prefix="qlora-", dir=short)
    for notebook in notebooks:
        print(f"{notebook.stem} ...", flush=True)
        start, copy = time.perf_counter(), run.notebooks / notebook.name
        try:
            papermill.execute_notebook(
                notebook,
                copy,
                kernel_name="qlora",
                cwd=NOTEBOOKS,
                progress_bar=sys.stderr.isatty(),
                iopub_timeout=60,  # seconds; a busy machine may deliver the output late
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
            )
        except PapermillExecutionError as error:
            told = f"{notebook.name} failed in cell {error.cell_index}: {error.ename}: {error.evalue}"
            raise RuntimeError(f"{told}\nThe executed copy shows where: {copy}") from None
        except DeadKernelError:
            told = f"{notebook.name}: the kernel died, most likely for lack of memory"
            raise RuntimeError(f"{told}.\nThe last cell with an output is in {copy}") from None
        finally:
            _join_streams(copy)
        print(f"{notebook.stem} done in {human_time(time.perf_counter() - start)}", flush=True)
    return run


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
        print(f"Run {config.run_name}: {config.model_id} on {config.dataset_id}")
        run = run_notebooks(chosen(sys.argv[2:]), config.preset)
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\nThe series ran in {human_time(time.perf_counter() - start)}. Where to look:")
    for what, path in (
        ("report", run.report_html),
        ("replies of base, adapter and merged model", run.comparisons),
        ("merge report", run.merge_report),
        ("adapter", run.adapter),
        ("merged model", run.merged),
        ("the same for llama.cpp and Ollama", run.gguf),
        ("executed notebooks", run.notebooks),
    ):
        print(f"  {what:42} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
