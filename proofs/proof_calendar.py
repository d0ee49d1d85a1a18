"""Does the demo learn the calendar task? Base, 20 steps and a full training, beside the baseline by rules. By hand:

    python -m proofs.proof_calendar [--language en] [--first 20] [--replies FILE] [setting=value ...]

Data, 4-bit base, adapter, arguments and trainer are those of 03 and 04; replies are greedy, on the held-out rows. Counts are
exactly right entries, seconds are those of the process on all cores (CPU time), each training's own and each answering's own.
"""

import argparse
import importlib.util
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

from helpers.data.prepare import prepare
from helpers.evaluate.generation import generate_replies, prompts_and_references
from helpers.files import read_jsonl
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.probe import throwaway_trainer

DATA = "notebooks/data/calendar_{}.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--language", default="en", choices=["en", "ko"])
    parser.add_argument("--first", type=int, default=20, help="steps of a first look; 0 = none")
    parser.add_argument("--replies", help="file for all replies, one JSON object a line")
    parser.add_argument("settings", nargs="*", help="such as learning_rate=1e-3")
    options = parser.parse_args()
    checks, replies = load_checks(), []
    settings = {"dataset_id": DATA.format(options.language), "run_name": "proof"}
    config = RunConfig.load("demo", **{**settings, **dict(pair.split("=") for pair in options.settings)})
    with tempfile.TemporaryDirectory(prefix="proof-calendar-") as folder:
        os.environ["QLORA_RUNS_DIR"] = folder
        run, tokenizer = RunDir(Path(folder)), load_tokenizer(config)
        print(prepare(config, run, tokenizer)["rows"], flush=True)
        rows = read_jsonl(run.eval_jsonl)
        asked, right = prompts_and_references(rows)
        told = {"rules alone": [checks.baseline(messages) for messages in asked]}
        report("rules alone", told["rules alone"], rows, checks)
        for name, changed in trainings(config, options.first).items():
            start = time.process_time()
            trainer = throwaway_trainer(run, changed)
            trainer.train()
            model, spent = trainer.model.eval(), time.process_time() - start
            print(f"{name}: trained in {spent:.0f} CPU s", flush=True)
            if "base" not in told:
                with model.disable_adapter():
                    told["base"] = answers(model, tokenizer, asked, config)
                report("base", told["base"], rows, checks)
            told[name] = answers(model, tokenizer, asked, config)
            report(name, told[name], rows, checks)
    if options.replies:
        replies = [
            {"source": row["source"], "asked": messages[-1]["content"], "right": reference}
            | {name: texts[number] for name, texts in told.items()}
            for number, (row, messages, reference) in enumerate(zip(rows, asked, right, strict=True))
        ]
        Path(options.replies).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in replies), "utf-8")


def load_checks():
    """The checks that stand beside the data, as a module."""
    spec = importlib.util.spec_from_file_location("calendar_checks", PROJECT_ROOT / "notebooks/data/calendar_checks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trainings(config: RunConfig, first: int) -> dict[str, RunConfig]:
    """A first look and the whole training, by name."""
    short = {"max_steps": first, "per_device_train_batch_size": 8}
    found = {f"{first} steps": config.with_overrides(**short, warmup_steps=2)} if first else {}
    return {**found, "whole training": config}


def answers(model, tokenizer, asked: list, config: RunConfig) -> list[str]:
    start = time.process_time()
    found = [reply.text for reply in generate_replies(model, tokenizer, asked, config.max_new_tokens)]
    print(f"answered in {time.process_time() - start:.0f} CPU s", flush=True)
    return found


def report(name: str, replies: list[str], rows: list[dict], checks) -> None:
    """Counts of every check on all rows, and of the exact ones by the rows' source."""
    names = [n for n, f in vars(checks).items() if callable(f) and f.__module__ == checks.__name__ and n[0] != "_"]
    passed, exact, of = Counter(), Counter(), Counter()
    for reply, row in zip(replies, rows, strict=True):
        *asked, answer = row["messages"]
        passed.update(n for n in names if n != "baseline" and getattr(checks, n)(asked, reply, answer["content"]))
        of[row["source"]] += 1
        exact[row["source"]] += checks.exact(asked, reply, answer["content"])
    parts = ", ".join(f"{source} {exact[source]} of {of[source]}" for source in sorted(of))
    print(f"{name}: exact {passed['exact']} of {len(rows)} ({parts}); {dict(passed)}", flush=True)


if __name__ == "__main__":
    main()
