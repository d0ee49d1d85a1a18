"""How long from a clone to the first learned reply? python -m proofs.proof_first_reply

Clones this repository into an empty folder with an empty home, sets it up, and runs the first look on the demo; the
same again in another clone, with the packages that pip kept. Two moments: when the kernel sent the table with the
first learned reply, and when the page ended, after 40 replies to held-out messages. Goal, for the first: four minutes
on two idle cores, two with these packages.

2026-11-30, 2-core AMD EPYC with AVX512-BF16, idle, packages fetched / kept by pip, to the end of the page. (The learned
reply stands there before the held-out messages are asked, in the same cell, which took 23 s on the demo.)

    by pip                                   236 s                                250 s
    by uv                                    142 (set-up 37, first look 105)      136 (34, 102)
    and the model converted in the set-up    132 (47, 84)   158 (60, 98)          125 (45, 80)   123 (39, 84)
    and its file read once, 2026-12-01       124 (44, 80)                         107 (30, 77)
    another EPYC, the code of that evening    64 (23, 41)                          61 (20, 40)

The first learned reply, 2026-12-01: after 104 s with packages fetched, 89 s with those that pip kept; on the other EPYC
(bfloat16 products at 480 GFLOP/s a core), where two cores work on rows of their own, after 53 and 50 s. The machine
itself moves these numbers by a tenth; the third line was measured twice, the second time with uv for what is
named by hashes, too. To compile less in the set-up (sympy, debugpy, fontTools and others left out) took it all back in
the first look: 135 and 132 s.

2026-12-01, the first machine, busy, so seconds of CPU: set-up with packages fetched 83, of which the converting of the
model, 18, has become 9, and the Korean notebooks, 1.7, 0.2. The first look 146: 2 to start the kernel, 10 imports and
base model, 9 its reply and the example, 83 the twenty steps, 6 the learned reply, 35 the held-out messages. Idle: the
set-up 76 with packages fetched and 50 with those kept, the first look 124 and 120.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers.paths import PROJECT_ROOT

STEPS = {
    "clone": ["git", "clone", "-q", str(PROJECT_ROOT), "."],
    "set-up": ["bash", "setup_kernel.sh"],
    "first look": [".venv/bin/python", "-m", "proofs.proof_first_reply", "look"],
}
LEARNED = "after 20 steps"  # the column of the reply that the twenty steps have taught
MARK = "first learned reply: "


def look() -> None:
    """The first look as `helpers.series` runs it, and when its kernel sent the table with the learned reply."""
    from nbclient import NotebookClient

    from helpers.series import main as series

    process = NotebookClient.process_message

    def watched(client, message, cell, index):
        html = message["content"].get("data", {}).get("text/html", "")
        if message["msg_type"] == "display_data" and f"{LEARNED}</th>" in html:
            print(f"{MARK}{message['header']['date'].timestamp()}", flush=True)
        return process(client, message, cell, index)

    NotebookClient.process_message = watched
    sys.argv[1:] = ["demo", "00_first_look"]
    sys.exit(series())


def measure(project: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds from the clone into `project` to the first learned reply and to the end of its page."""
    start, learned = time.time(), []
    for name, command in STEPS.items():
        begin, before = time.time(), sum(os.times()[2:4])
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stdout[-1000:]}\n{done.stderr[-1000:]}")
        used = sum(os.times()[2:4]) - before  # CPU of the steps that have ended
        print(f"{name}: {time.time() - begin:.0f} s, {used:.0f} s of CPU", flush=True)
        learned += map(float, re.findall(f"{MARK}([0-9.]+)", done.stdout))
    [first] = learned
    return first - start, time.time() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("QLORA_", "PIP_CACHE"))}
        environment = kept | {"HOME": f"{folder}/home", "PIP_CACHE_DIR": f"{folder}/pip", "QLORA_LANG": "en"}
        Path(folder, "home").mkdir()
        for number, packages in enumerate(("fetched", "kept by pip")):
            project = Path(folder, f"clone-{number}")
            project.mkdir()
            learned, whole = measure(project, environment)
            print(f"packages {packages}: first learned reply after {learned:.0f} s, end of its page {whole:.0f} s")


if __name__ == "__main__":
    look() if sys.argv[1:] else main()
