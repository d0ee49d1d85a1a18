"""Run notebooks in order without a browser; the executed copies land in the run directory.

python -m helpers.series [PRESET]
"""

from __future__ import annotations

import sys
import time

from helpers.config import PROJECT_ROOT, RunConfig
from helpers.report import human_time
from helpers.runs import RunDir

NOTEBOOKS = PROJECT_ROOT / "notebooks"
KERNEL = "qlora"


def series_names() -> list[str]:
    """The notebooks of the series in order, 00 to 06 (07 serves the result elsewhere, by hand)."""
    return [path.stem for path in sorted(NOTEBOOKS.glob("0[0-6]_*.ipynb"))]


def run_notebooks(names: list[str], preset: str) -> RunDir:
    """Execute notebooks by name with papermill under the kernel `qlora`.

    Raises RuntimeError that names the notebook and the cell that failed, with its error.
    """
    import os

    import papermill
    from papermill.exceptions import PapermillExecutionError

    os.environ["QLORA_PRESET"] = preset
    run = RunDir.open(RunConfig.load(preset))
    for name in names:
        start = time.perf_counter()
        copy = run.notebooks / f"{name}.ipynb"
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            papermill.execute_notebook(
                NOTEBOOKS / f"{name}.ipynb", copy, kernel_name=KERNEL, cwd=NOTEBOOKS, progress_bar=sys.stderr.isatty()
            )
        except PapermillExecutionError as error:
            raise RuntimeError(
                f"{name}.ipynb failed in cell {error.cell_index}: {error.ename}: {error.evalue}\n"
                f"The executed copy shows where: {copy}"
            ) from None
        print(f"{name}  {human_time(time.perf_counter() - start)}", flush=True)
    return run


def main() -> int:
    preset = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        config = RunConfig.load(preset)
        run = run_notebooks(series_names(), config.preset)
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\nDone. Executed notebooks: {run.notebooks}\nAdapter, merged model and report: {run.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
