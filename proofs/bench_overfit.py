"""A training that overfits, for 08: many passes over few rows, its two losses from epoch to epoch. By hand:

    python -m proofs.bench_overfit [PRESET]      writes docs/data/overfit.jsonl

24 short questions with free answers, read 6 times at twice the demo's rate; 24 others are held out. 4-bit base,
adapter, arguments and trainer are those of 03 and 04, without their choice of the best checkpoint. The first line of
the file says what, when and on which machine; each other one is a step with its loss.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from transformers import set_seed
from trl import SFTConfig

from helpers.compare.overfit import FILE
from helpers.data.labels import encode_rows
from helpers.files import read_jsonl, write_jsonl
from helpers.model.load import load_base_model
from helpers.model.lora import lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import PROJECT_ROOT
from helpers.settings import RunConfig
from helpers.train.arguments import QUIET, sft_arguments
from helpers.train.metrics import MetricsLog
from helpers.train.trainer import LeanTrainer

DATA = PROJECT_ROOT / "notebooks" / "data" / "rehearsal.jsonl"
HELD_OUT, ROWS, EPOCHS, BATCH = 24, 24, 6, 4
KEPT = ("step", "loss", "eval_loss")


def processor() -> str:
    """The processor's name, as Linux tells it."""
    told = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{len(told)} x {told[0]}" if told else platform.processor()


def main() -> None:
    epoch = ROWS // BATCH  # steps
    config = RunConfig.load(
        sys.argv[1] if len(sys.argv) > 1 else "demo", run_name="overfit", max_steps=epoch * EPOCHS, learning_rate=2e-3,
        per_device_train_batch_size=BATCH, logging_steps=epoch, eval_steps=epoch,
    )  # fmt: skip
    tokenizer, start = load_tokenizer(config), time.process_time()
    asked = read_jsonl(DATA)[: HELD_OUT + ROWS]
    turns = [
        [{"role": "user", "content": one["question"]}, {"role": "assistant", "content": one["answer"]}] for one in asked
    ]
    rows = encode_rows([{"messages": messages} for messages in turns], tokenizer, config)
    set_seed(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "metrics.jsonl")
        trainer = LeanTrainer(
            load_base_model(config),
            args=SFTConfig(
                folder,
                **{
                    **sft_arguments(config),
                    **QUIET,
                    "eval_strategy": "steps",
                    "eval_on_start": True,
                    "disable_tqdm": True,
                },
            ),
            train_dataset=rows.select(range(HELD_OUT, HELD_OUT + ROWS)),
            eval_dataset=rows.select(range(HELD_OUT)),
            processing_class=tokenizer,
            peft_config=lora_config(config),
            callbacks=[MetricsLog(log)],
        )
        trainer.train()
        curve = [{name: row[name] for name in KEPT if name in row} for row in read_jsonl(log)]
    head = {"command": "python -m proofs.bench_overfit", "preset": config.preset, "date": date.today().isoformat()}
    head |= {"hardware": processor(), "cpu_s": round(time.process_time() - start)}
    head |= {"rows": ROWS, "epochs": EPOCHS, "epoch_steps": epoch, "held_out": HELD_OUT}
    write_jsonl(FILE, [head, *curve])
    lowest = min((row for row in curve if "eval_loss" in row), key=lambda row: row["eval_loss"])
    print(head, lowest, curve[-2:], sep="\n")


if __name__ == "__main__":
    main()
