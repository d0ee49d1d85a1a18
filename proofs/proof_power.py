"""Are trainings that differ only in their seed called different, is an effect of 0.05 nats found? By hand:

    python -m proofs.proof_power train FILE [demo]    # 60 trainings; again after a kill: it goes on
    python -m proofs.proof_power judge FILE
    python -m proofs.proof_power simulate

Two draws of the calendar data: 160 messages to learn from, 60 held out. Two settings that differ in their steps, up to
15 seeds of each. 20 pairs with an effect: 3, 5 or 7 seeds of one setting beside as many of the other; 40 without any:
as many of one setting beside others of its own. Each pair is drawn anew, so pairs share trainings. Judged as the gate
judges `--against` (`facts.rival`) where nothing else was asked for: at half of the 5 %.

Results of 2026-12-01, `train FILE demo` (ended after 10 seeds of each) and `judge`, 1,632 CPU s on one thread of a
2-core AMD EPYC with AVX512-BF16 beside much other work. The demo, 16 steps of 4 rows: 0.165 and 0.140 nats, the spread
of the seeds 0.009 to 0.015, the effect of five steps less 0.054 and 0.057:

    seeds a side  seed alone, called different  11 steps instead of 16, found  the gate prints (median)
    3             0 of 40 pairs                 9 of 20 pairs                  0.070 and 0.073
    5             0                             16                             0.048 and 0.060
    7             not trained                   20                             0.057

So 0.05 nats take five seeds a side here (goal: 16 of 20).

Results of 2026-11-30, `simulate`, 1000 comparisons a line, one core of a 2-core Intel Xeon with AVX512-BF16:

    seeds a side  their spread  no effect, called different  stopped at the margin  prints  of which are found
    2             0.006 nats    0.0 %                        0.3 %                  0.100   77 %
    2             0.016         0.3 %                        0.4 %                  0.178   75 %
    3             0.006         0.0 %                        0.4 %                  0.060   82 %
    3             0.016         0.0 %                        1.0 %                  0.091   79 %
    5             0.006         0.0 %                        0.2 %                  0.045   84 %
    5             0.016         0.0 %                        1.1 %                  0.064   82 %

`train` and `judge`, the tiny model, 170 CPU s on one thread beside much other work, the spread of the seeds 0.041 to
0.047 nats, the effect of the steps 0.07 and 0.06:

    seeds a side  seed alone, called different  14 steps instead of 16, found  the gate prints (median)
    3             0 of 40 pairs                 3 of 20 pairs                  0.189 and 0.209
    5             0                             5                              0.129 and 0.113
    7             1                             4                              0.106 and 0.106

No seed is taken for an effect, and what the gate prints is true of made numbers. On tiny the goal is missed with seven
seeds a side: the seeds move this model by 0.044 nats, and by the t interval that takes 43 of them on each side.
"""

import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy

from helpers.data.labels import encode_rows
from helpers.evaluate.facts import SHIP, STOP, rival
from helpers.evaluate.held_out import held_out_nll
from helpers.evaluate.intervals import MARGINS, NLL, SAME
from helpers.evaluate.power import seen
from helpers.evaluate.rivals import difference
from helpers.files import read_jsonl, write_jsonl
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.probe import throwaway_trainer

DATA = PROJECT_ROOT / "notebooks" / "data" / "calendar_en.jsonl"
DRAWS, ROWS, HELD = 2, 160, 60
STEPS = {"tiny": (16, 14), "demo": (16, 11)}  # of the two settings
SEEDS, BLOCKS, GATES = 5, 3, 1000  # SEEDS x BLOCKS of each setting and draw; simulated comparisons
CONFIG = {"run_name": "proof", "per_device_train_batch_size": 4}
SHORT = {"tiny": {"max_length": 160, "load_in_4bit": False}, "demo": {}}


def train(file: Path, preset: str = "tiny") -> None:
    config = RunConfig.load(preset, **CONFIG, **SHORT[preset])
    tokenizer, rows = load_tokenizer(config), read_jsonl(DATA)
    done = {(row["draw"], row["steps"], row["seed"]) for row in (read_jsonl(file) if file.exists() else ())}
    with tempfile.TemporaryDirectory() as folder, file.open("a", encoding="utf-8") as out:
        run = RunDir(Path(folder))
        run.train_jsonl.parent.mkdir(parents=True)
        for block, draw, steps in ((b, d, s) for b in range(BLOCKS) for d in range(DRAWS) for s in STEPS[preset]):
            picked = random.Random(draw).sample(rows, ROWS + HELD)
            write_jsonl(run.train_jsonl, picked[:ROWS])
            held = encode_rows(picked[ROWS:], tokenizer, config)
            for seed in range(SEEDS * block, SEEDS * (block + 1)):
                if (draw, steps, seed) in done:
                    continue
                start = time.process_time()
                trainer = throwaway_trainer(run, config.with_overrides(max_steps=steps, training_seed=seed))
                trainer.args.disable_tqdm = True
                trainer.train()
                scores = held_out_nll(trainer.model.eval(), held)
                row = {"draw": draw, "steps": steps, "seed": seed, "nll": scores.nll, "tokens": scores.tokens}
                out.write(json.dumps(row | {"cpu": time.process_time() - start}) + "\n")
                out.flush()


def trainings(file: Path) -> dict[tuple[int, int], list[dict]]:
    """Of each draw and setting the trainings, one a seed: row -> (nats, tokens)."""
    found: dict[tuple[int, int], list[dict]] = {}
    for row in read_jsonl(file):
        by_row = {str(i): pair for i, pair in enumerate(zip(row["nll"], row["tokens"], strict=True))}
        found.setdefault((row["draw"], row["steps"]), []).append(by_row)
    return found


def mean(run: dict) -> float:
    return sum(nats for nats, _ in run.values()) / sum(tokens for _, tokens in run.values())


def judged(one: list[dict], two: list[dict]) -> tuple[int, bool, float]:
    """The gate's code for `two` against `one`, whether they are called different, and the effect it would have seen."""
    seeds = [[mean(run) for run in side] for side in (one, two)]
    gap, alone = difference(one, two, seeds, 2), difference(one, two, seeds, 1)
    reason = rival(gap, alone, "", 2)
    return reason.code, reason.code == STOP or reason.code == SHIP and SAME not in reason.sentence, seen(gap, NLL, 2)


def judge(file: Path) -> None:
    found, rows, draw = trainings(file), read_jsonl(file), random.Random(0)
    print(f"{len(rows)} trainings, {sum(row['cpu'] for row in rows):.0f} CPU s")
    for (number, count), runs in sorted(found.items()):
        values = [mean(run) for run in runs]
        told = f"mean {statistics.fmean(values):.3f}, spread {statistics.stdev(values):.3f} nats"
        print(f"draw {number}, {count} steps, {len(runs)} seeds: {told}")
    steps = sorted({row["steps"] for row in rows}, reverse=True)
    least = min(map(len, found.values()))
    for seeds in (3, 5, 7):
        parts = []
        if 2 * seeds <= least:
            both = [draw.sample(runs, 2 * seeds) for runs in found.values() for _ in range(20 // DRAWS)]
            parts.append(("seed alone", [(runs[:seeds], runs[seeds:]) for runs in both]))
        if seeds <= least:
            pairs = [[found[number, count] for count in steps] for number in range(DRAWS) for _ in range(20 // DRAWS)]
            some = [tuple(draw.sample(runs, seeds) for runs in pair) for pair in pairs]
            parts.append((f"{steps[1]} steps instead of {steps[0]}", some))
        for name, pairs in parts:
            results = [judged(*pair) for pair in pairs]
            smallest = statistics.median(effect for *_, effect in results)
            told = f"{sum(different for _, different, _ in results)} of {len(pairs)} pairs are called different"
            print(f"{seeds} seeds a side, {name}: {told}; the gate prints {smallest:.3f} (median)")


def simulate() -> None:
    """The same with bell-shaped numbers of a known spread of seeds: what the gate prints, and what is then found."""
    draw = numpy.random.default_rng(0)

    def side(rows: numpy.ndarray, seeds: int, luck: float, shift: float = 0.0) -> list[dict]:
        found = rows + shift + draw.normal(0, luck, (seeds, 1)) + draw.normal(0, 0.05, (seeds, len(rows)))
        return [{str(i): (10 * nats, 10) for i, nats in enumerate(run)} for run in found]

    def pair(seeds: int, luck: float, shift: float) -> tuple:
        rows = draw.normal(2, 0.5, HELD)
        return judged(side(rows, seeds, luck), side(rows, seeds, luck, shift))

    for seeds, luck in itertools.product((2, 3, 5), (0.006, 0.016)):
        none = [pair(seeds, luck, 0.0) for _ in range(GATES)]
        edge = sum(pair(seeds, luck, MARGINS[NLL])[0] == STOP for _ in range(GATES)) / GATES
        found = sum(pair(seeds, luck, effect)[0] == STOP for *_, effect in none) / GATES
        smallest = statistics.median(effect for *_, effect in none)
        told = f"no effect called different {sum(different for _, different, _ in none) / GATES:.1%}"
        told += f", stopped at the margin {edge:.1%}, prints {smallest:.3f}, which is found {found:.0%}"
        print(f"{seeds} seeds a side, their spread {luck:.3f}: {told}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "simulate":
        simulate()
    else:
        {"train": train, "judge": judge}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
