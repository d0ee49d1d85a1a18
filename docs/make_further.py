"""The second half of the gallery: appendices, labs and a 08 with several runs, on a small model, in a few minutes.

QLORA_RUNS_DIR=$(mktemp -d) python -m docs.make_further

With QLORA_LANG=ko in Korean, into docs/gallery/ko. Notebooks 03 to 06 of preset tiny are run first, then a sweep, 08,
the appendices and the labs: nobody's own runs are among them, and the labs are unsolved. What was run already with the
code of today is not run again.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat

from docs.gallery_index import FURTHER, SEVERAL, every_page, gallery, pages
from docs.make_gallery import day, executed, fingerprint, page, write
from helpers.compare.sweep import sweep
from helpers.paths import PROJECT_ROOT, runs_root
from helpers.runs import RunDir
from helpers.series import chosen, copies, run_notebooks
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import N_, _, language
from helpers.train.launch import running
from helpers.translate import build

RUN = "tiny"
BEFORE = ["03", "04", "05", "06"]  # what they read
CHOICES = {"learning_rate": [1e-3, 3e-3, 3e-2]}  # beside the run's own: four runs in 08
TOLD = N_("run {run} of {day}; its model began with random weights: look at the page, not at its replies")


def fresh(copy: Path, source: Path) -> bool:
    """Whether `copy` was run to its end with the code of `source`."""
    if not copy.exists():
        return False
    book = nbformat.read(copy, as_version=4)
    ran = all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
    return ran and fingerprint(book) == fingerprint(nbformat.read(source, as_version=4))


def run_all() -> Path:
    """Run what is missing; the folder of the executed copies."""
    folder = copies(RunDir.open(RunConfig.load(RUN)))
    run_notebooks([path for path in chosen(BEFORE) if not fresh(folder / path.name, path)], RUN)
    sweep(RUN, **CHOICES)
    while running(RunDir(runs_root() / ".sweeps" / RUN)):
        time.sleep(1)
    run_notebooks([path for path in pages(FURTHER).values() if not fresh(folder / path.name, path)], RUN)
    return folder


def main() -> int:
    if language() != "en":
        build(language())
    try:
        copied = run_all()
        date = day(copied / every_page()[SEVERAL].name)
        told = _(TOLD).format(run=RUN, day=date)
        made = {name: page(executed(copied / path.name), name, told) for name, path in pages(FURTHER).items()}
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    for path, size in write(gallery(), FURTHER, made, RUN, date).items():
        print(f"{human_bytes(size):>8}  {path.relative_to(PROJECT_ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
