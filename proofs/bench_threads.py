"""Threads that spin while they wait, on a machine that others use too: python -m proofs.bench_threads [--passes 8]
[--busy 0]

Small products with something between them, as in a model's layers, on two threads, with each of OpenMP's ways to wait;
beside `busy` processes that count. 2-core AMD EPYC, 2026-11-29, beside other work (load 6), seconds and CPU seconds: as
it comes 35.9 and 9.3, passive 1.0 and 1.0, 1,000 spins 1.9 and 0.7, 10,000 spins 6.0 and 1.8, 100,000 spins 27.1 and
6.2.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

WAYS = [{}, {"OMP_WAIT_POLICY": "PASSIVE"}, *({"GOMP_SPINCOUNT": str(10**n)} for n in (3, 4, 5))]
WORK = """
import sys, time, torch
torch.set_num_threads(2)
x, layers = torch.randn(576, 576).bfloat16(), [torch.randn(576, 576).bfloat16() * 0.04 for _ in range(30)]
def one():
    y = x
    for layer in layers:
        y = torch.nn.functional.silu(y @ layer)
        y = y * y.float().pow(2).mean(-1, keepdim=True).rsqrt().bfloat16()
one()
start, cpu = time.perf_counter(), time.process_time()
for _ in range(int(sys.argv[1])):
    one()
print(f"{time.perf_counter() - start:.2f} s, {time.process_time() - cpu:.2f} CPU s")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", default="8")
    parser.add_argument("--busy", type=int, default=0)
    options = parser.parse_args()
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
    try:
        for way in WAYS:
            command = [sys.executable, "-c", WORK, options.passes]
            said = subprocess.run(command, env=plain | way, capture_output=True, text=True, check=True).stdout
            print(way or "as it comes", said.strip(), flush=True)
    finally:
        for other in others:
            other.kill()


if __name__ == "__main__":
    main()
