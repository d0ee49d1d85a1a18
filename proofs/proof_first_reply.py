"""How long from a clone to the first learned reply? python -m proofs.proof_first_reply

Clones this repository into an empty folder with an empty home, sets it up, and runs the first look on the demo; the
same again in another clone, with the packages that pip kept. Goal: four minutes on two idle cores, two with these.

2026-11-30, 2-core AMD EPYC with AVX512-BF16, idle, the set-up by pip: with packages fetched 236 s (clone 2, set-up 129,
first look 106); with packages kept by pip 250 s (set-up 134, first look 116): two minutes are missed.

Where the set-up's time went, in seconds of CPU (2-core Intel Xeon, five to seven times as much work as cores): the
pinned packages by pip 115 fetched and 104 kept, of which 33 to resolve, 45 to compile on one core, the rest to unpack.
By uv they are 10 fetched and 1 kept; compiling, on all cores beside the rest of the set-up, is 55 of its 76. Not
measured on idle cores since.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT

STEPS = {
    "clone": ["git", "clone", "-q", str(ROOT), "."],
    "set-up": ["bash", "setup_kernel.sh"],
    "first look": [".venv/bin/python", "-m", "helpers.series", "demo", "00_first_look"],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("QLORA_", "PIP_CACHE"))}
        environment = kept | {"HOME": f"{folder}/home", "PIP_CACHE_DIR": f"{folder}/pip"}
        for number, packages in enumerate(("fetched", "kept by pip")):
            project, whole = Path(folder, f"clone-{number}"), 0.0
            project.mkdir()
            Path(folder, "home").mkdir(exist_ok=True)
            for name, command in STEPS.items():
                begin, before = time.monotonic(), sum(os.times()[2:4])
                done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{name}: {done.stdout[-1000:]}\n{done.stderr[-1000:]}")
                whole += time.monotonic() - begin
                used = sum(os.times()[2:4]) - before  # CPU of the steps that have ended
                print(f"{name}: {time.monotonic() - begin:.0f} s, {used:.0f} s of CPU", flush=True)
            print(f"clone to the first learned reply, packages {packages}: {whole:.0f} s", flush=True)


if __name__ == "__main__":
    main()
