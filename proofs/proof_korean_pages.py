"""Does a Korean run show English of ours anywhere: series, appendices, labs, report, board? By hand:

python -m proofs.proof_korean_pages [RUN of preset tiny, after its last notebook]
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["QLORA_PRESET"] = "tiny"

from helpers.paths import runs_root
from helpers.runs import RunDir
from tests.notebooks.test_korean import english_shown


def main(run: str = "tiny") -> int:
    with tempfile.TemporaryDirectory() as folder:
        english = english_shown(RunDir(runs_root() / run), Path(folder, "runs"), "[0-9]*", "A*", "labs/*")
    print(*english, f"{len(english)} sentences", sep="\n")
    return 1 if english else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
