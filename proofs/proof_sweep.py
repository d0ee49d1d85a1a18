"""A real sweep, killed with SIGKILL in the middle of a training and continued. By hand, on a run after 03:

    QLORA_RUNS_DIR=FOLDER python -m proofs.proof_sweep RUN [STEPS]

Two learning rates by two ranks, as forks of a fork with few steps. Worker and training are killed at the second
evaluation of the second run, then the same call goes on. At the end no run has logged a step twice.

2026-11-28, 2-core AMD EPYC CPU with AVX512-BF16, alone, `demo 16`, rates 0.00025 and 0.002 by ranks 4 and 16, 401 s:
killed at step 2 of the second run; both runs of the lower rate stopped after 25 % (2.181 and 2.206 nats against 1.584
and 1.600), the other two trained to 1.358 and 1.360 in three sittings each.

2026-11-25, one without, beside much other work, `tiny 16`, rates 0.00125 and 0.01, 522 s: both runs of the lower rate
stopped after 25 % (12.17 and 12.18 against 7.73 and 7.77), rank 4 after 50 % (7.419 against 7.391), the last one
trained to 7.274. The first try found that the continued worker died when the kernel of the killed training still held
its run; it waits now.
"""

import os
import signal
import sys
import time

from helpers.compare.runs import read_run
from helpers.compare.sweep import standing, sweep
from helpers.files import read_jsonl
from helpers.paths import runs_root
from helpers.runs import RunDir, fork
from helpers.show.tables import Table
from helpers.train.launch import running


def main(old: str, steps: int = 16) -> None:
    every = {name: steps // 8 for name in ("eval_steps", "save_steps", "logging_steps")}
    short, rate = f"{old}-short", RunDir(runs_root() / old).stored_config().learning_rate
    fork(old, short, chosen=False, max_steps=steps, keep="last", **every)
    choices = {"learning_rate": [rate / 8, rate], "lora_r": [4, 16]}
    names, start = sweep(short, **choices), time.time()
    runs = {name: RunDir(runs_root() / name) for name in names}
    worker, second = RunDir(runs_root() / ".sweeps" / short), runs[names[1]]
    while len(read_run(second).curve) < 2:
        time.sleep(0.2)
    for process in (running(worker), running(second)):
        os.killpg(process["pid"], signal.SIGKILL)
    print(f"killed after {time.time() - start:.0f} s")
    print(Table(standing(short)))
    sweep(short, **choices)
    time.sleep(2)
    while running(worker):
        time.sleep(1)
    print(f"at the end, after {time.time() - start:.0f} s in all")
    print(Table(standing(short)))
    for name, run in runs.items():
        logged = [row["step"] for row in read_jsonl(run.metrics) if "loss" in row]
        assert logged == sorted(set(logged)) and (logged[-1] == steps or not run.trained.exists()), (name, logged)
        sittings = max(row["sitting"] for row in read_jsonl(run.metrics))
        print(f"{name}: steps {logged[0]} to {logged[-1]}, none twice, in {sittings} sittings")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
