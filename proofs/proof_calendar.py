"""Does the demo learn the calendar task? Base, 20 steps and a full training, beside the baseline by rules. By hand:

    python -m proofs.proof_calendar [--language en] [--first 20] [--replies FILE] [setting=value ...]

Data, 4-bit base, adapter, arguments and trainer are those of 03 and 04; replies are greedy, on the held-out rows.
Seconds are CPU time of the process. `calendar-once` rows have a shape, people, a place and an event that training never
saw.

Results, SmolLM2-135M, rank 16, one thread of a 2-core AMD EPYC with AVX512-BF16 that did much other work. English:
max_eval_rows=60, else as the preset demo; the first 48 of the 60 rows are what 06 asks.

    exactly right                        of 60   of 48   calendar-once   CPU s
    rules alone                             21      16    3 of 15
    base                                     0            0 of 15
    base, 3 examples                         0            0 of 15
    20 steps of 8, rate 2e-3                27            3 of 15           91   (2026-11-29)
    60 steps of 8, rate 2e-3, once          55           12 of 15          257   (2026-11-29)
    60 steps of 8, rate 2e-3, by 04                 37                           (2026-11-29)
    132 steps of 4, rate 1e-3               52      41    9 of 15          236   (2026-11-30)

Another seed of the last row (seed=7, its own 60 held-out rows): 47 of 60, 32 of 40 and 15 of 20.

So eight rows at 2e-3 end now here, now there: names that no row had before are copied with a wrong piece. The same
rows in smaller steps are the preset now. A first look takes 20 bold steps; 00_first_look had 15 of its 20 rows right.
A space before a value is no fault since 2026-11-30.

The Korean twin, 2026-12-01, beside much other work, 32 held-out rows, of which 6 are calendar-once:

    --language ko --shown 0 max_rows=0 max_eval_rows=32 max_new_tokens=104 per_device_train_batch_size=4 \
        max_length=320 max_steps=72

                                valid   exact   event   day   time   place   person   CPU s
    rules alone                    32      12      21    32     32      20       28
    base                            0       0       0     0      0       0        0
    20 steps of 8, rate 2e-3       32       1       9    10     17      10        8     153
    72 steps of 4, rate 1e-3       32       3      15    15     23      16       14     252

The form is learned and the content is not: this model hardly knows Korean, and rules without a model are better. That
is what a base that knows your language is for.

What is still wrong is fluent: the event of "ballet class with Gabriel and Florian" is said to be "boulangé". Asked
without the system line for the capital of France, the base says Paris; the trained model {"capital": "France"}: it
forgot how to chat.
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

from helpers.data.prepare import prepare
from helpers.evaluate.checks import load_checks
from helpers.evaluate.generation import generate_replies, prompts_and_references
from helpers.files import read_jsonl
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.probe import throwaway_trainer

CHECKS = "notebooks/data/calendar_checks.py"
DATA = "notebooks/data/calendar_{}.jsonl"
OTHER = ["What is the capital of France?", "Which animals give us wool?"]  # not what it learns


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--language", default="en", choices=["en", "ko"])
    parser.add_argument("--first", type=int, default=20, help="steps of a first look, at twice the rate; 0 = none")
    parser.add_argument(
        "--shown", type=int, default=3, help="training rows that the base is shown as examples; 0 = none"
    )
    parser.add_argument("--replies", help="file for all replies, one JSON object a line")
    parser.add_argument("settings", nargs="*", help="such as learning_rate=1e-3")
    options = parser.parse_args()
    settings = {"dataset_id": DATA.format(options.language), "run_name": "proof"}
    config = RunConfig.load("demo", **{**settings, **dict(pair.split("=") for pair in options.settings)})
    with tempfile.TemporaryDirectory(prefix="proof-calendar-") as folder:
        os.environ["QLORA_RUNS_DIR"] = folder
        run = RunDir(Path(folder))
        print(prepare(config, run, load_tokenizer(config))["rows"], flush=True)
        rows, replies = read_jsonl(run.eval_jsonl), measured(run, config, options.first, options.shown)
    if options.replies:
        found = [
            {"source": row["source"], "asked": row["messages"][-2]["content"], "right": row["messages"][-1]["content"]}
            | {name: texts[number] for name, texts in replies.items()}
            for number, row in enumerate(rows)
        ]
        Path(options.replies).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in found), "utf-8")


def measured(run: RunDir, config: RunConfig, first: int, examples: int) -> dict[str, list[str]]:
    """The replies of every model to the held-out rows, by name; prints what they are worth."""
    (checks, baseline), tokenizer = load_checks(CHECKS), load_tokenizer(config)
    rows, found = read_jsonl(run.eval_jsonl), {}
    asked, _ = prompts_and_references(rows)
    shown = [m for row in read_jsonl(run.train_jsonl)[:examples] for m in row["messages"] if m["role"] != "system"]
    with_examples = [[messages[0], *shown, messages[-1]] for messages in asked]

    def answer(name: str, model, prompts: list) -> None:
        found[name] = answers(model, tokenizer, prompts, config)
        report(name, found[name], rows, checks)
        other = answers(model, tokenizer, [[{"role": "user", "content": text}] for text in OTHER], config)
        print({question: text[:100] for question, text in zip(OTHER, other, strict=True)}, flush=True)

    found["rules alone"] = [baseline(messages) for messages in asked]
    report("rules alone", found["rules alone"], rows, checks)
    for name, changed in trainings(config, first).items():
        start = time.process_time()
        trainer = throwaway_trainer(run, changed)
        trainer.train()
        model = trainer.model.eval()
        print(f"{name}: trained in {time.process_time() - start:.0f} CPU s", flush=True)
        if "base" not in found:
            with model.disable_adapter():
                answer("base", model, asked)
                if examples:
                    answer(f"base, shown {examples} examples", model, with_examples)
        answer(name, model, asked)
    return found


def trainings(config: RunConfig, first: int) -> dict[str, RunConfig]:
    """A first look and the whole training, by name."""
    short = {"max_steps": first, "learning_rate": 2 * config.learning_rate, "per_device_train_batch_size": 8}
    found = {f"{first} steps": config.with_overrides(**short, warmup_steps=2)} if first else {}
    return {**found, "whole training": config}


def answers(model, tokenizer, asked: list, config: RunConfig) -> list[str]:
    start = time.process_time()
    found = [reply.text for reply in generate_replies(model, tokenizer, asked, config.max_new_tokens)]
    print(f"answered in {time.process_time() - start:.0f} CPU s", flush=True)
    return found


def report(name: str, replies: list[str], rows: list[dict], checks: dict) -> None:
    """Counts of every check on all rows, and of the exact ones by the rows' source."""
    passed, exact, of = Counter(), Counter(), Counter()
    for reply, row in zip(replies, rows, strict=True):
        *asked, answer = row["messages"]
        passed.update(name for name, check in checks.items() if check(asked, reply, answer["content"]))
        of[row["source"]] += 1
        exact[row["source"]] += checks["exact"](asked, reply, answer["content"])
    parts = ", ".join(f"{source} {exact[source]} of {of[source]}" for source in sorted(of))
    print(f"{name}: exact {passed['exact']} of {len(rows)} ({parts}); {dict(passed)}", flush=True)


if __name__ == "__main__":
    main()
