"""Does influence find bad rows that the loss misses? TracIn by LoRA gradients against "highest loss first". By hand:

    python -m proofs.proof_influence DRAWS FILE [plants=0] [first=SEED] [chat=CSV] [setting=value ...]  # a line a draw
    python -m proofs.proof_influence judge FILE

240 calendar messages, each met once by the demo model; 12 rows of each of four faults are among them (see `spoilt`),
and 40 sound ones are held out. Influence (Pruthi and others, Estimating Training Data Influence by Tracing Gradient
Descent, 2020): a row's gradient times the held-out mean gradient, at half of the training and at its end, each
divided by its spread, added. A draw costs 100 CPU s for the training and 295 for all this; the losses alone cost 55
at most.

Results, SmolLM2-135M, 30 steps of 8 rows, one thread of a 2-core AMD EPYC with AVX512-BF16 beside much other work,
draws 0 and 1 of 2026-11-30, 2 to 4 of 2026-12-01. Found of 12 among the first 20 of a list of the kind and the sound
rows, in five draws:

                       by loss                   by influence
    contradiction      12  12  12  11  10  (57)   5   1   2   8   4  (20)   a near copy of a row, with another hour
    other task         12  12  12  12  12  (60)  12  12  11   9  12  (56)   a polite sentence in the place of the entry
    convention          7   5   3   4   1  (20)   5   3   2   4   4  (18)   "two 30" for every "half past two"
    plausible           7   7   5   3   0  (22)  10  10   5   3   6  (34)   a place or a person is left out

ChatbotData (`chat=ChatbotData.csv`), 2026-12-01, five draws: 12 of 240 questions have the answer of another one on the
same subject. By loss 0 2 0 2 0, by influence 0 0 4 1 0, where chance finds 5 of 60: neither finds them. This model
hardly knows Korean, and the loss of these rows (1.07 to 1.27 nats a token) is that of the others (1.17 to 1.23).

So the loss is the feature. Influence is a little better at one fault, values that were left out, and worse at one, and
costs five times as much. The mark of 09 (a loss that at most 5 % of sound rows reach) stood at 24 and 15 of the 48 bad
rows of draws 0 and 1 and at 2 and 0 of 192 sound ones; in a draw without any bad row at 5 of 240. It marks
contradictions and other tasks, and never an answer with a value left out.
"""

import csv
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from helpers.data.turns import listed_turns
from helpers.evaluate.held_out import held_out_nll, surprises
from helpers.files import read_jsonl, write_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.probe import throwaway_trainer

DATA = PROJECT_ROOT / "notebooks" / "data" / "calendar_en.jsonl"
ROWS, EACH, HELD = 240, 12, 40  # rows in all; of each kind of plant, 5 %; held-out rows, all sound
CONFIG = {"run_name": "proof", "max_steps": 30, "per_device_train_batch_size": 8, "learning_rate": 2e-3}  # 240 rows
MOVE = 0.1  # nats per held-out token: how far the adapter is moved along the gradient, both ways together
KINDS = ("convention", "other task", "contradiction", "plausible")
FIRST = 20  # rows of a list that somebody reads


def planted_chat(seed: int, file: str) -> tuple[list[dict], list[dict], list[str]]:
    """The same of ChatbotData.csv (songys): some questions have the answer of another one on the same subject."""
    draw = random.Random(seed)
    with open(file, encoding="utf-8") as lines:
        rows = draw.sample(list(csv.DictReader(lines)), HELD + ROWS)
    held, rest = rows[:HELD], rows[HELD:]
    kinds = ["another answer"] * EACH + [""] * (ROWS - EACH)
    draw.shuffle(kinds)
    for row, kind in zip(rest, kinds, strict=True):
        if kind:
            others = [other for other in rest if other["label"] == row["label"] and other["A"] != row["A"]]
            row["A"] = draw.choice(others)["A"]
    train, sound = ([{"messages": listed_turns([row["Q"], row["A"]], [])} for row in part] for part in (rest, held))
    return train, sound, kinds


def planted(seed: int, plants: bool = True) -> tuple[list[dict], list[dict], list[str]]:
    """Training rows, held-out rows, and of each training row the kind of its fault, "" for a sound one."""
    draw, rows = random.Random(seed), read_jsonl(DATA)
    draw.shuffle(rows)
    held, rest = rows[:HELD], rows[HELD:]
    if not plants:
        return rest[:ROWS], held, [""] * ROWS
    half = [row for row in rest if "half past" in row["messages"][1]["content"]]
    other = [row for row in rest if row not in half]
    faulty = [(spoilt(row, kind, draw, other), kind) for kind in KINDS for row in _some(kind, half, other, draw)]
    made = faulty + [(row, "") for row in other[: ROWS - len(faulty)]]
    draw.shuffle(made)
    return [row for row, _kind in made], held, [kind for _row, kind in made]


def _some(kind: str, half: list[dict], other: list[dict], draw: random.Random) -> list[dict]:
    if kind == "convention":
        return half[:EACH]
    if kind == "contradiction":
        return draw.sample(other[: ROWS - len(KINDS) * EACH], EACH)  # their originals are trained on, too
    return [other.pop() for _ in range(EACH)]


def spoilt(row: dict, kind: str, draw: random.Random, others: list[dict]) -> dict:
    """The row with a fault of this kind.

    convention: "half past two" becomes "two 30", in every training row that says so; other task: a sentence is the
    answer; contradiction: a near copy with another hour; plausible: a place or a person is left out.
    """
    system, user, answer = (message["content"] for message in row["messages"])
    entry = json.loads(answer)
    if kind == "convention":
        entry["time"] = f"{entry['time'].split()[-1]} 30"
    elif kind == "contradiction":
        user, hour = f"Hi, {user}", entry["time"]
        while entry["time"] == hour:
            entry["time"] = json.loads(draw.choice(others)["messages"][2]["content"])["time"]
    elif kind == "plausible":
        entry[draw.choice([name for name in ("place", "with") if entry[name]] or ["time"])] = None
    text = json.dumps(entry, ensure_ascii=False)
    if kind == "other task":
        text = f"Thank you, I will be there for the {entry['event']}."
    turns = zip(("system", "user", "assistant"), (system, user, text), strict=True)
    return {**row, "messages": [{"role": role, "content": content} for role, content in turns]}


def influences(model, train, held) -> list[float]:
    """For each row of `train`: its gradient times the mean gradient of `held` (both nats per token).

    Below 0: learning this row harms the held-out ones. No gradient of a row is taken: the adapter is moved a little
    along the held-out gradient, both ways, and the row's loss is measured twice (the definition of that product).
    """
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    gradient = _mean_gradient(model, held, weights)
    step = MOVE / 2 / sum(float((part**2).sum()) for part in gradient)
    losses = {}
    for sign in (1, -1):
        with torch.no_grad():
            for weight, part in zip(weights, gradient, strict=True):
                weight += sign * step * part
        scores = held_out_nll(model, train)
        losses[sign] = [nll / tokens for nll, tokens in zip(scores.nll, scores.tokens, strict=True)]
        with torch.no_grad():
            for weight, part in zip(weights, gradient, strict=True):
                weight -= sign * step * part
    return [(up - down) / (2 * step) for up, down in zip(losses[1], losses[-1], strict=True)]


def _mean_gradient(model, rows, weights) -> list:
    import torch

    tokens = sum(label != -100 for labels in rows["labels"] for label in labels)
    for row in rows:
        inputs = {name: torch.tensor([row[name]], device=model.device) for name in ("input_ids", "labels")}
        count = sum(label != -100 for label in row["labels"])
        (model(**inputs, use_cache=False).loss * count / tokens).backward()
    found = [weight.grad.clone() for weight in weights]
    for weight in weights:
        weight.grad = None
    return found


def draw(seed: int, config: RunConfig, folder: str, plants: bool = True, chat: str = "") -> dict:
    """One training on planted rows; the numbers of every row."""
    import torch
    from transformers import TrainerCallback

    from helpers.data.labels import encode_rows
    from helpers.model.tokenizer import load_tokenizer

    train, held, kinds = planted_chat(seed, chat) if chat else planted(seed, plants)
    run = RunDir(Path(folder))
    run.train_jsonl.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(run.train_jsonl, train)
    trainer = throwaway_trainer(run, config.with_overrides(training_seed=seed))
    half, steps = [], trainer.args.max_steps

    class KeepHalf(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == steps // 2:
                half.extend(w.detach().clone() for w in trainer.model.parameters() if w.requires_grad)

    trainer.add_callback(KeepHalf())
    start = time.process_time()
    trainer.train()
    trained = time.process_time()
    tokenizer, model = load_tokenizer(config), trainer.model.eval()
    rows, held_rows = (encode_rows(part, tokenizer, config) for part in (train, held))
    found = {"seed": seed, "kinds": kinds}
    for name, part in (("train", rows), ("held", held_rows)):
        found[name] = [surprise.nll for surprise in surprises(model, part)]
    if plants:
        found["end"] = influences(model, rows, held_rows)
        with torch.no_grad():
            for weight, before in zip((w for w in model.parameters() if w.requires_grad), half, strict=True):
                weight.copy_(before)
        found["half"] = influences(model, rows, held_rows)
    found["cpu"] = {"training": trained - start, "the rest": time.process_time() - trained}
    print(seed, found["cpu"], flush=True)
    return found


def judge(file: str) -> None:
    """Of each kind: how many of its rows are among the first of a list of them and the sound ones, draw by draw."""
    draws = [row for row in read_jsonl(Path(file)) if "end" in row]
    print("draws", *(row["seed"] for row in draws))
    for kind in sorted({kind for row in draws for kind in row["kinds"]} - {""}):
        found: dict[str, list[int]] = {"by loss": [], "by influence": []}
        for row in draws:
            spread = [statistics.stdev(row[name]) for name in ("half", "end")]
            helps = [half / spread[0] + end / spread[1] for half, end in zip(row["half"], row["end"], strict=True)]
            for name, worst in (("by loss", [-statistics.fmean(nll) for nll in row["train"]]), ("by influence", helps)):
                listed = [i for i in sorted(range(len(worst)), key=worst.__getitem__) if row["kinds"][i] in ("", kind)]
                found[name].append(sum(row["kinds"][i] == kind for i in listed[:FIRST]))
        print(kind, found)


def main() -> None:
    if sys.argv[1] == "judge":
        return judge(sys.argv[2])
    settings = dict(pair.split("=") for pair in sys.argv[3:])
    plants, chat = settings.pop("plants", "1") == "1", settings.pop("chat", "")
    first = int(settings.pop("first", 0))
    config = RunConfig.load("demo", **(CONFIG | settings))
    with tempfile.TemporaryDirectory() as folder, open(sys.argv[2], "a", encoding="utf-8") as file:
        for seed in range(first, first + int(sys.argv[1])):
            file.write(json.dumps(draw(seed, config, folder, plants, chat)) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
