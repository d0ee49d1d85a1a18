"""Does a bfloat16 adapter learn less than a float32 one? By hand:

    python -m proofs.bench_adapter_format [setting=value ...] [--preset tiny] [--rates 2e-4 1e-3]
    QLORA_RUNS_DIR=FOLDER python -m proofs.bench_adapter_format --dpo RUN [--rates 1e-5]   # a run that 04 made

The training of 04 on the preset's rows (60 steps) at two learning rates, or that of A2 on the project's own pairs (two
epochs), once with each format of the adapter: held-out loss with its paired interval, and the share of A's and B's
numbers that moved in the last quarter.

`tiny`, 60 steps, 2-core AMD EPYC with AVX512-BF16, one thread, 2026-11-29:
2e-4: bfloat16 12.422, A 16 %, B 95 % moved; float32 12.303, 100 %; bfloat16 worse by 0.119 (0.107 to 0.129)
1e-3: bfloat16 7.612, A 23 %, B 49 % moved; float32 7.608, 100 %; bfloat16 worse by 0.004 (0.002 to 0.007)

`max_steps=40 --preset demo`, 2-core Intel Xeon with AMX, one thread, other work beside it, 2026-12-01:
2e-4: bfloat16 0.1974, A 11 %, B 78 % moved; float32 0.1922, 100 %; bfloat16 worse by 0.005 (0.003 to 0.007)
1e-3: bfloat16 0.0891, A 37 %, B 77 % moved; float32 0.0873, 100 %; by 0.002 (-0.001 to 0.011)
and with 400 rows of ChatbotData (`dataset_id=FILE max_rows=400 max_eval_rows=100 checks=`), where 40 steps show no
difference in the loss, for all that stands still:
2e-4: bfloat16 1.739, A 11 %, B 85 % moved; float32 1.737, 100 %; by 0.002 (-0.003 to 0.006)
1e-3: bfloat16 1.539, A 45 %, B 87 % moved; float32 1.540, 100 %; by -0.001 (-0.005 to 0.003)

`--dpo` on the demo after 16 steps of 04, 15 held-out pairs, the same machine beside much other work, 2026-12-01, 463
CPU s:
1e-5: bfloat16 0.683, A 1 %, B 4 % moved; float32 0.665, 100 %; bfloat16 worse by 0.018 (0.006 to 0.029)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import TrainerCallback, set_seed
from trl import DPOConfig, SFTConfig

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.data.split import split_pairs
from helpers.evaluate.held_out import Scores, held_out_nll
from helpers.evaluate.intervals import paired_difference, told_interval
from helpers.files import read_jsonl
from helpers.model.load import load_base_model
from helpers.model.lora import lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.train.arguments import QUIET, sft_arguments
from helpers.train.dpo import ExactDPO
from helpers.train.further import same_as_04
from helpers.train.preferences import OWN, read_pairs, ready
from helpers.train.trainer import LeanTrainer

FORMATS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class LastQuarter(TrainerCallback):
    """Keeps the adapter as it is after three quarters of the steps."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == state.max_steps * 3 // 4:
            self.kept = {name: w.detach().clone() for name, w in model.named_parameters() if w.requires_grad}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--dpo", metavar="RUN", help="train its adapter on pairs, as A2 does")
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4, 1e-3])
    parser.add_argument("settings", nargs="*", help="such as max_steps=60 dataset_id=FILE")
    options = parser.parse_args()
    given = {"compute_dtype": "bfloat16"} | dict(pair.split("=", 1) for pair in options.settings)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for rate in options.rates:
            settings = {**given, "learning_rate": rate}
            if options.dpo:
                train, run = dpo, RunDir(runs_root() / options.dpo)
                config = run.stored_config().with_overrides(**settings)
            else:
                train, run = sft, RunDir(Path(folder) / str(rate))
                config = RunConfig.load(options.preset, **{"max_steps": 60, **settings})
                run.path.mkdir()
                prepare(config, run, load_tokenizer(config))
            found = {name: train(run, config, kind) for name, kind in FORMATS.items()}
            gap = paired_difference(found["float32"][0].nll, found["bfloat16"][0].nll, found["float32"][0].tokens)
            for name, (scores, moved) in found.items():
                row = {"rate": f"{rate:g}", "adapter": name, "held-out": f"{scores.nll_per_token:.4f}"}
                row |= {"A moved": f"{moved['lora_A']:.0%}", "B moved": f"{moved['lora_B']:.0%}"}
                rows.append(row | {"worse by": ""})
            rows[-2]["worse by"] = f"{gap['difference']:.4f} ({told_interval(gap['low'], gap['high'], '.4f')})"
            print(Table(rows), f"{time.process_time():.0f} CPU s", flush=True)


def sft(run: RunDir, config: RunConfig, kind: torch.dtype) -> tuple[Scores, dict]:
    """Scores of the held-out rows after the training, and the shares that moved in its last quarter."""
    tokenizer, quarter = load_tokenizer(config), LastQuarter()
    set_seed(config.luck)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(str(run.trainer), **(sft_arguments(config) | QUIET | {"disable_tqdm": True})),
        train_dataset=encode_rows(read_jsonl(run.train_jsonl), tokenizer, config),
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[quarter],
    )
    moved = trained(trainer, kind, quarter)
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    return held_out_nll(model, encode_rows(read_jsonl(run.eval_jsonl), tokenizer, config)), moved


def dpo(run: RunDir, config: RunConfig, kind: torch.dtype) -> tuple[Scores, dict]:
    """The same of A2: the loss of every held-out pair."""
    tokenizer, quarter = load_tokenizer(config), LastQuarter()
    parts = split_pairs(ready(read_pairs(OWN, config), tokenizer, config), 0.25, config.seed)
    set_seed(config.luck)
    with tempfile.TemporaryDirectory() as folder:
        args = DPOConfig(
            folder,
            learning_rate=config.learning_rate,
            num_train_epochs=2.0,
            per_device_train_batch_size=max(config.per_device_train_batch_size // 2, 1),
            per_device_eval_batch_size=1,
            save_strategy="no",
            disable_tqdm=True,
            **same_as_04(config, DPOConfig),
        )
        policy = PeftModel.from_pretrained(load_base_model(config), str(run.adapter), is_trainable=True)
        data = {"train_dataset": parts["train"], "eval_dataset": parts["test"]}
        trainer = ExactDPO(model=policy, args=args, processing_class=tokenizer, callbacks=[quarter], **data)
        moved = trained(trainer, kind, quarter)
        pairs = [trainer.eval_dataset.select([number]) for number in range(len(parts["test"]))]
        losses = [trainer.evaluate(pair)["eval_loss"] for pair in pairs]
    return Scores(losses, [1] * len(losses)), moved


def trained(trainer: Any, kind: torch.dtype, quarter: LastQuarter) -> dict[str, float]:
    """Train with the adapter in the format `kind`; of A and of B the share that moved in the last quarter."""
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(kind)
    trainer.train()
    now, moved = dict(trainer.model.named_parameters()), {}
    for part in ("lora_A", "lora_B"):
        same = [(now[name] == old).float().mean().item() for name, old in quarter.kept.items() if part in name]
        moved[part] = 1 - sum(same) / len(same)
    return moved


if __name__ == "__main__":
    main()
