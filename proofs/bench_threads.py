"""Threads that spin while they wait, on a machine that others use too: python -m proofs.bench_threads [--passes 8]
[--busy 0]
[--quota 1]

Small products with something between them, as in a model's layers, on two threads, with each of OpenMP's ways to wait;
beside `busy` processes that count. 2-core AMD EPYC, 2026-11-29, beside other work (load 6), seconds and CPU seconds: as
it comes 35.9 and 9.3, passive 1.0 and 1.0, 1,000 spins 1.9 and 0.7, 10,000 spins 6.0 and 1.8, 100,000 spins 27.1 and
6.2.

--quota leaves the measured processes so many cores, by a control group of version 1 or 2 that root can make here, and
adds what `setup_kernel.py` writes into the kernel's environment there.
2-core AMD EPYC with AVX2 only, in float32, 2026-11-30, --quota 1, beside other work (load 7), seconds and CPU seconds,
twice:

    as it comes                                 29.2   9.97        38.1   9.80
    passive                                      5.4   2.18         7.1   2.07
    1,000 spins                                  7.6   2.55         8.2   2.34
    10,000 spins                                11.6   3.32         8.1   3.38
    100,000 spins                               29.8   8.09        20.4   6.68
    what the set-up writes: 1 thread, passive    8.6   2.07         6.8   2.21

The quota of a real group is read, and its one thread needs no more CPU time than the best of two.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from pathlib import Path

from setup_kernel import threads

GROUPS = Path("/sys/fs/cgroup")
WAYS = [{}, {"OMP_WAIT_POLICY": "PASSIVE"}, *({"GOMP_SPINCOUNT": str(10**n)} for n in (3, 4, 5))]
WORK = """
import os, sys, time, torch
from helpers.model.device import compute_dtype
from helpers.settings import RunConfig
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
kind = compute_dtype(RunConfig.load("demo"))
x, layers = torch.randn(576, 576).to(kind), [torch.randn(576, 576).to(kind) * 0.04 for _ in range(30)]
def one():
    y = x
    for layer in layers:
        y = torch.nn.functional.silu(y @ layer)
        y = y * y.float().pow(2).mean(-1, keepdim=True).rsqrt().to(kind)
one()
start, cpu = time.perf_counter(), time.process_time()
for _ in range(int(sys.argv[1])):
    one()
print(f"{time.perf_counter() - start:.2f} s, {time.process_time() - cpu:.2f} CPU s")
"""


@contextlib.contextmanager
def quota(cores: float | None):
    """This process and those that it starts share so many cores; None leaves it as it is."""
    if cores is None:
        yield
        return
    old, period = GROUPS / "cpu", 100_000
    group = (old if old.is_dir() else GROUPS) / "bench-threads"
    group.mkdir()
    if group.parent == old:
        (group / "cpu.cfs_period_us").write_text(str(period))
        (group / "cpu.cfs_quota_us").write_text(str(int(cores * period)))
    else:
        (group / "cpu.max").write_text(f"{int(cores * period)} {period}")
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", default="8")
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--quota", type=float, help="cores that a control group leaves")
    options = parser.parse_args()
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
    try:
        with quota(options.quota):
            for way in [*WAYS, *([threads()] if options.quota else [])]:
                command = [sys.executable, "-c", WORK, options.passes]
                said = subprocess.run(command, env=plain | way, capture_output=True, text=True, check=True).stdout
                print(way or "as it comes", said.strip(), flush=True)
    finally:
        for other in others:
            other.kill()


if __name__ == "__main__":
    main()
