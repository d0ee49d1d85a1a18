"""Going on with new rows on an old adapter: what is won on the new, what is lost on the old, and what rehearsal keeps.
By hand:

    python -m proofs.proof_go_on FILE [setting=value ...] [--preset tiny] [--shares 0 0.1]

FILE is ChatbotData.csv (songys/Chatbot_data, CC-BY): label 0, everyday talk, is the old half; 1 and 2, parting and
love, the new one. The old run is trained on its half; each fork goes on from its adapter on the new half
(`start_from="adapter"`), with a share of the old run's training rows. Data, 4-bit base, adapter, arguments and trainer
are those of 03 and 04; the last step is used.

Results of 2026-11-30, one thread of a 2-core AMD EPYC with AVX512-BF16 that did much other work; NLL against the start,
nats per token. --preset demo (132 steps of 4 rows; the old run: 225 CPU s, 1.223 nats on 44 held-out rows):

    share of old rows     48 new rows               44 old rows               CPU s
    0                     -0.19 (-0.26 to -0.12)    -0.06 (-0.14 to +0.00)    301
    0.1                   -0.15 (-0.23 to -0.08)    -0.07 (-0.15 to -0.00)    306

Nothing of the old half was lost, with rehearsal or without: both halves are short Korean talk, the old run has met 528
of its 5,242 rows, and what the new ones teach helps there too. The old rows took a share of the new half's steps.

--preset tiny max_rows=0 max_length=96 max_steps=400 max_eval_rows=200 eval_fraction=0.05 (old run: 30 CPU s):

    share of old rows     195 new rows              190 old rows              CPU s
    0                     +0.02 (-0.00 to +0.04)    +0.04 (+0.02 to +0.07)    37
    0.1                   +0.01 (-0.01 to +0.03)    +0.03 (+0.01 to +0.04)    37

The tiny model learns little more than how frequent a token is (6.3 nats), so it has little to lose.
"""

import argparse
import csv
import os
import tempfile
import time
from pathlib import Path

from datasets.utils.logging import disable_progress_bar
from transformers import set_seed
from trl import SFTConfig

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.files import read_jsonl, write_json
from helpers.model.load import load_base_model
from helpers.model.lora import lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir, fork
from helpers.settings import RunConfig
from helpers.train.arguments import QUIET, sft_arguments
from helpers.train.best import HeldOut
from helpers.train.start import begin_from, row_key, score, told_since_start
from helpers.train.trainer import LeanTrainer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.0, 0.1])
    parser.add_argument("settings", nargs="*", help="such as learning_rate=1e-3")
    options = parser.parse_args()
    disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="proof-go-on-") as folder:
        os.environ["QLORA_RUNS_DIR"] = folder
        old, new = halves(options.file, Path(folder))
        settings = dict(pair.split("=") for pair in options.settings)
        config = RunConfig.load(options.preset, **{"dataset_id": old, "run_name": "old", "checks": "", **settings})
        run = RunDir.open(config)
        run.save_config(config)
        trained(run, config)
        for share in options.shares:
            name = f"new-{share:g}"
            made = fork("old", name, chosen=False, start_from="adapter", dataset_id=new, rehearsal_fraction=share)
            trained(made, made.stored_config())


def halves(file: Path, folder: Path) -> tuple[str, str]:
    """The two halves of FILE as CSV files with a question and an answer a row."""
    with file.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for name, labels in (("old", "0"), ("new", "12")):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as half:
            writer = csv.writer(half)
            writer.writerow(["question", "answer"])
            writer.writerows([row["Q"], row["A"]] for row in rows if row["label"] in labels)
    return str(folder / "old.csv"), str(folder / "new.csv")


def trained(run: RunDir, config: RunConfig) -> None:
    """03 and 04 for `run`; prints how it went."""
    before, tokenizer = time.process_time(), load_tokenizer(config)
    print(run.path.name, prepare(config, run, tokenizer)["rows"], flush=True)
    parts = [encode_rows(read_jsonl(path), tokenizer, config) for path in (run.train_jsonl, run.eval_jsonl)]
    set_seed(config.luck)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(str(run.trainer), **(sft_arguments(config) | QUIET)),
        train_dataset=parts[0],
        eval_dataset=parts[1],
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )
    begin_from(trainer, run, config)
    trainer.train()
    trainer.model.save_pretrained(run.adapter)
    found, steps = score(trainer, run.adapter), trainer.state.global_step
    HeldOut(steps, steps, "", [row_key(row) for row in parts[1]], found.nll, found.tokens).write(run)
    write_json(run.trained, {"step": steps})
    seconds = time.process_time() - before
    held_out = f"held out {found.nll_per_token:.3f}, {seconds:.0f} CPU s"
    print(f"{run.path.name}: {steps} steps, {held_out}. {told_since_start(run)}")


if __name__ == "__main__":
    main()
