"""How much is enough? Forks that learn from a part of the rows, and what the curve through them says of more.

subsets("demo", seeds=[1, 2])        # forks on 1/8, 1/4 and 1/2 of the rows, same held-out rows, ready for 04
train("demo", seeds=[1, 2])          # and trained, one after the other; again after a kill: it goes on
"""

from __future__ import annotations

import math
import random
import time

from helpers.compare.choices import steps_of
from helpers.compare.runs import Trial, read_run
from helpers.compare.take_out import without
from helpers.files import read_json, read_jsonl
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.show.words import _
from helpers.train.launch import running, start

SHARES = (8, 4, 2)  # one row in so many
STEPS, EPOCHS = "steps", "epochs"  # what is the same in all: few rows are met more often, or the training is shorter


def subsets(old: str, seeds=(1, 2), same: str = STEPS) -> list[RunDir]:
    """The forks of `old`, smallest first: every share of its rows with every seed, and all rows with every seed.

    A seed draws the rows as well as the luck of the training, so that what it moves is the spread over both.
    """
    source = RunDir(runs_root() / old)
    rows = read_jsonl(source.train_jsonl)
    steps = steps_of(source.stored_config(), source)
    forks = []
    for part in (*SHARES, 1):
        length = max(4, round(steps / part)) if same == EPOCHS else steps
        paced = {"max_steps": length, "eval_steps": math.ceil(length / 4), "save_steps": math.ceil(length / 4)}
        for seed in seeds:
            gone = random.Random(seed).sample(rows, len(rows) - round(len(rows) / part))
            name = f"{old}-1of{part}-same-{same}-seed-{seed}"
            forks.append(without(old, gone, name, training_seed=seed, **paced))
    return forks


def train(old: str, seeds=(1, 2), same: str = STEPS) -> None:
    """Train the forks that are not trained yet, one after the other, each in a process of its own."""
    from helpers.show.progress import Progress

    for run in Progress(subsets(old, seeds, same), desc=_("training")):
        if not run.trained.exists() and not running(run):
            start(run, run.stored_config())
        while running(run):
            time.sleep(1)


def by_size(old: str, same: str = STEPS) -> dict[int, list[Trial]]:
    """The measured forks of `subsets`, by the number of rows that they learned from."""
    found: dict[int, list[Trial]] = {}
    for folder in sorted(runs_root().glob(f"{old}-1of*-same-{same}-seed-*")):
        run = RunDir(folder)
        if run.held_out.exists():
            found.setdefault(read_json(run.data_report)["rows"]["train"], []).append(read_run(run))
    return dict(sorted(found.items()))
