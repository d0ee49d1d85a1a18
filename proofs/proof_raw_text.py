"""Does training on raw text teach its facts? Documents about invented towns, and questions about them. By hand:

    python -m proofs.proof_raw_text [setting=value ...] [--preset demo] [--towns 24] [--passes 12]

Asked is always the same: "Who is the mayor of Quorl?", greedy, before and after. `raw text`: 03 and 04 on documents,
all of which is learned. `question rows`: on rows that ask otherwise ("Name the mayor of Quorl."). `text in the prompt`:
the base as it is, with the document before the question, as retrieval would put it there. Seconds are CPU time.

Results of 2026-11-30, demo, 24 towns, 12 passes, one thread of a 2-core AMD EPYC with AVX512-BF16 that did much other
work; right answers of 72 (the name stands in the reply):

                                        before     after    NLL of what is learned    CPU s
    raw text, 72 steps                   0          1       4.32, then 0.14           282
    the same, text in the prompt        59         43
    question rows, 216 steps             0         54       5.06, then 0.01           274

So a text that is known by heart answers hardly any question, and a chat model that learned it reads a text in the
prompt worse than before. What helps are rows of questions, though worded otherwise, and the text in the prompt of the
model as it was. On tiny, which knows no facts, every count is 0 before and after.
"""

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path

from datasets.utils.logging import disable_progress_bar
from transformers import set_seed
from trl import SFTConfig

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.evaluate.generation import generate_replies
from helpers.evaluate.held_out import held_out_nll
from helpers.files import read_jsonl, write_jsonl
from helpers.model.load import load_base_model
from helpers.model.lora import lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.arguments import QUIET, sft_arguments
from helpers.train.trainer import LeanTrainer

ASKED = {
    "mayor": "Who is the mayor of {}?",
    "river": "Which river runs through {}?",
    "dish": "What do people in {} eat on holidays?",
}
TAUGHT = {
    "mayor": "Name the mayor of {}.",
    "river": "{} lies on a river. Which one?",
    "dish": "Tell me the holiday dish of {}.",
}
PARTS = {
    "town": "Quo Vel Tar Bri Mol Zan Fer Pol".split(),
    "end": "rl ston by mouth".split(),
    "mayor": "Ada Bruno Carla Dmitri Elif Farid Greta Hugo".split(),
    "name": "Okafor Lindqvist Moreau Tanaka".split(),
    "river": "Silver Black Winding Cold Long White".split(),
    "water": "Brook Run Water Creek".split(),
    "dish": "plum pear cabbage barley onion walnut".split(),
    "kind": "soup pie dumplings bread".split(),
}


def towns(count: int) -> list[dict]:
    """Towns that do not exist, with a mayor, a river and a dish."""
    draw, names = random.Random(1), [a + b for a in PARTS["town"] for b in PARTS["end"]]
    made = []
    for town in draw.sample(names, count):
        pick = {name: draw.choice(words) for name, words in PARTS.items()}
        facts = {"mayor": f"{pick['mayor']} {pick['name']}", "river": f"{pick['river']} {pick['water']}"}
        made.append({"town": town, **facts, "dish": f"{pick['dish']} {pick['kind']}"})
    return made


def text(of: dict) -> str:
    return (
        f"{of['town']} is a small town on the {of['river']}. Its mayor is {of['mayor']}, who was a teacher before. "
        f"On holidays people there eat {of['dish']}.\n\nThe {of['river']} has run through {of['town']} for as long as "
        f"anyone knows. Guests are offered {of['dish']}, and {of['mayor']} greets them at the station of {of['town']}."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--towns", type=int, default=24)
    parser.add_argument("--passes", type=float, default=12)
    parser.add_argument("settings", nargs="*", help="such as learning_rate=1e-3")
    options = parser.parse_args()
    disable_progress_bar()
    made, sets = towns(options.towns), {}
    sets["raw text"] = [{"text": text(town)} for town in made]
    sets["question rows"] = [{"Q": q.format(t["town"]), "A": f"{t[name]}."} for t in made for name, q in TAUGHT.items()]
    asked = [(town, name, question.format(town["town"])) for town in made for name, question in ASKED.items()]
    prompts = [[{"role": "user", "content": question}] for *_, question in asked]
    inside = [[{"role": "user", "content": f"{text(town)}\n\n{question}"}] for town, _name, question in asked]
    plain = {"max_steps": -1, "eval_fraction": 0, "checks": "", "num_train_epochs": options.passes, "packing": False}
    for kind, rows in sets.items():
        with tempfile.TemporaryDirectory(prefix="proof-raw-text-") as folder:
            os.environ["QLORA_RUNS_DIR"] = folder
            write_jsonl(Path(folder) / "rows.jsonl", rows)
            settings = plain | dict(pair.split("=") for pair in options.settings)
            config = RunConfig.load(options.preset, dataset_id=f"{folder}/rows.jsonl", run_name="proof", **settings)
            answer(
                config,
                kind,
                asked,
                {"": prompts} if kind != "raw text" else {"": prompts, ", text in the prompt": inside},
            )


def answer(config: RunConfig, kind: str, asked: list, prompts: dict) -> None:
    """Train on the rows of `config`; prints the right answers before and after."""
    run, tokenizer, before = RunDir.open(config), load_tokenizer(config), time.process_time()
    prepare(config, run, tokenizer)
    rows = encode_rows(read_jsonl(run.train_jsonl), tokenizer, config)
    set_seed(config.luck)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(str(run.trainer), **(sft_arguments(config) | QUIET)),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )

    def told(when: str) -> None:
        model, right = trainer.model.eval(), {}
        for where, questions in prompts.items():
            replies = generate_replies(model, tokenizer, questions, 32)
            hits = [
                town[name].lower() in reply.text.lower() for (town, name, _q), reply in zip(asked, replies, strict=True)
            ]
            right[f"{when}{where}"] = f"{sum(hits)} of {len(hits)}"
        shown = json.dumps(right, ensure_ascii=False)
        nll, seconds = held_out_nll(model, rows).nll_per_token, time.process_time() - before
        print(
            f"{kind}: {shown}, NLL of the training rows {nll:.2f}, {seconds:.0f} CPU s; {replies[0].text[:80]!r}",
            flush=True,
        )

    told("before")
    trainer.train()
    told(f"after {trainer.state.global_step} steps")


if __name__ == "__main__":
    main()
