"""Are trainings that differ only in their seed called different, is an effect of 0.05 nats found? By hand:

    python -m proofs.proof_power train FILE     # 60 trainings; again after a kill: it goes on
    python -m proofs.proof_power judge FILE
    python -m proofs.proof_power simulate

Two draws of the calendar data: 160 messages to learn from, 60 held out. Two settings that differ in their steps, 15
seeds of each, in threes: a comparison has three seeds a side, as `seeds=[1, 2, 3]` gives. Each three is compared with
two of the other setting (20 pairs with an effect), and with all of its own (40 pairs that differ in their seeds alone).
Judged as the gate judges `--against` (`facts.rival`) where nothing else was asked for: at half of the 5 %.

Results of 2026-11-30, `simulate`, 1000 comparisons a line, one core of a 2-core AMD EPYC with AVX512-BF16:

    seeds a side  their spread  no effect, called different  stopped at the margin  prints  of which are found
    2             0.006 nats    0.0 %                        0.3 %                  0.100   77 %
    2             0.016         0.3 %                        0.4 %                  0.178   75 %
    3             0.006         0.0 %                        0.4 %                  0.060   82 %
    3             0.016         0.0 %                        1.0 %                  0.091   79 %
    5             0.006         0.0 %                        0.2 %                  0.045   84 %
    5             0.016         0.0 %                        1.1 %                  0.064   82 %

So what the gate prints is true, and 0.05 nats take five seeds a side of a spread of 0.006. The trainings were not run:
the machine was too busy. Open, then: 0.05 nats in 16 of 20 pairs of real trainings.
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
from helpers.evaluate.facts import SHIP, STOP, rival, seen
from helpers.evaluate.held_out import held_out_nll
from helpers.evaluate.intervals import MARGINS, NLL, SAME
from helpers.evaluate.rivals import difference
from helpers.files import read_jsonl, write_jsonl
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.probe import throwaway_trainer

DATA = PROJECT_ROOT / "notebooks" / "data" / "calendar_en.jsonl"
DRAWS, ROWS, HELD = 2, 160, 60
STEPS = (20, 16)  # of the two settings
SEEDS, BLOCKS, GATES = 3, 5, 1000  # seeds a side; sides of each setting in a draw; comparisons of the simulation
CONFIG = {"run_name": "proof", "max_length": 160, "load_in_4bit": False, "per_device_train_batch_size": 4}


def train(file: Path) -> None:
    config = RunConfig.load("tiny", **CONFIG)
    tokenizer, rows = load_tokenizer(config), read_jsonl(DATA)
    done = {(row["draw"], row["steps"], row["seed"]) for row in (read_jsonl(file) if file.exists() else ())}
    with tempfile.TemporaryDirectory() as folder, file.open("a", encoding="utf-8") as out:
        run = RunDir(Path(folder))
        run.train_jsonl.parent.mkdir(parents=True)
        for block, draw, steps in ((b, d, s) for b in range(BLOCKS) for d in range(DRAWS) for s in STEPS):
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


def sides(file: Path) -> dict[tuple[int, int], list[list[dict]]]:
    """Of each draw and setting the sides, each a list of trainings: row -> (nats, tokens)."""
    found: dict[tuple[int, int], list[dict]] = {}
    for row in sorted(read_jsonl(file), key=lambda row: row["seed"]):
        by_row = {str(i): pair for i, pair in enumerate(zip(row["nll"], row["tokens"], strict=True))}
        found.setdefault((row["draw"], row["steps"]), []).append(by_row)
    return {key: [runs[i : i + SEEDS] for i in range(0, len(runs), SEEDS)] for key, runs in found.items()}


def mean(run: dict) -> float:
    return sum(nats for nats, _ in run.values()) / sum(tokens for _, tokens in run.values())


def judged(one: list[dict], two: list[dict]) -> tuple[int, bool, float]:
    """The gate's code for `two` against `one`, whether they are called different, and the effect it would have seen."""
    seeds = [[mean(run) for run in side] for side in (one, two)]
    gap, alone = difference(one, two, seeds, 2), difference(one, two, seeds, 1)
    reason = rival(gap, alone, "", 2)
    return reason.code, reason.code == STOP or reason.code == SHIP and SAME not in reason.sentence, seen(gap, NLL, 2)


def judge(file: Path) -> None:
    found = sides(file)
    rows = read_jsonl(file)
    print(f"{len(rows)} trainings, {sum(row['cpu'] for row in rows):.0f} CPU s")
    for steps in STEPS:
        spread = [statistics.stdev(mean(run) for side in found[d, steps] for run in side) for d in range(DRAWS)]
        print(f"{steps} steps: the seeds' standard deviation is {min(spread):.3f} to {max(spread):.3f} nats")
    none = [pair for group in found.values() for pair in itertools.combinations(group, 2)]
    ones, twos = ([found[draw, steps] for draw in range(DRAWS)] for steps in STEPS)
    turned = [sides[1:] + sides[:1] for sides in twos]
    some = [
        pair for others in (twos, turned) for draw in zip(ones, others, strict=True) for pair in zip(*draw, strict=True)
    ]
    for name, pairs in (("seed alone", none), (f"{STEPS[1]} steps instead of {STEPS[0]}", some)):
        sizes = [statistics.fmean(map(mean, two)) - statistics.fmean(map(mean, one)) for one, two in pairs]
        results = [judged(*pair) for pair in pairs]
        told = f"{sum(different for _, different, _ in results)} of {len(pairs)} pairs are called different"
        told += f", {sum(code == STOP for code, _, _ in results)} stopped"
        smallest = statistics.median(effect for *_, effect in results)
        print(f"{name}, {statistics.fmean(sizes):.3f} ({min(sizes):.3f} to {max(sizes):.3f}) nats: {told}")
        print(f"  an effect of {smallest:.3f} would have been seen (median of what the gate says)")


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
        {"train": train, "judge": judge}[sys.argv[1]](Path(sys.argv[2]))
