"""Does a Korean run show English of ours anywhere: series, appendices, labs, report, board? By hand:

python -m proofs.proof_korean_pages [RUN of preset tiny, after its last notebook]
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

os.environ["QLORA_PRESET"] = "tiny"

from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.series import copies, run_notebooks
from helpers.translate import build
from helpers.workshop.board import page
from tests.notebooks.korean import english_in, english_of, not_ours


def english_shown(whole: RunDir, runs: Path) -> list[str]:
    """English of ours in the outputs of Korean pages, in report and board; on a copy of the run in `runs`."""
    shutil.copytree(whole.path, runs / whole.path.name)
    os.environ.update(QLORA_RUNS_DIR=str(runs), QLORA_LANG="ko")
    run = run_notebooks(sorted(build("ko")), "tiny")  # the series, the appendices, the labs
    known, english = not_ours(run), []
    for path in sorted(copies(run).glob("*.ipynb")):
        english += [f"{path.stem} {words}" for words in english_of(nbformat.read(path, 4), known)]
    english += [f"report {words}" for words in english_in(run.report_html.read_text(encoding="utf-8"), known)]
    return english + [f"board {words}" for words in english_in(page(runs), known)]


def main(run: str = "tiny") -> int:
    with tempfile.TemporaryDirectory() as folder:
        english = english_shown(RunDir(runs_root() / run), Path(folder, "runs"))
    print(*english, f"{len(english)} sentences", sep="\n")
    return 1 if english else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
