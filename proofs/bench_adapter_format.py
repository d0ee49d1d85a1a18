"""Does a bfloat16 adapter learn less than a float32 one? python -m proofs.bench_adapter_format [--preset tiny] [--steps
60]

The training of 04 on the preset's rows at two learning rates, once with each format of the adapter: held-out loss with
its paired interval, and the share of A's and B's numbers that moved in the last quarter.

`tiny`, 60 steps, 2-core AMD EPYC with AVX512-BF16, one thread, 2026-11-29:
2e-4: bfloat16 12.422, A 16 %, B 95 % moved; float32 12.303, 100 %; bfloat16 worse by 0.119 (0.107 to 0.129)
1e-3: bfloat16 7.612, A 23 %, B 49 % moved; float32 7.608, 100 %; bfloat16 worse by 0.004 (0.002 to 0.007)
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from transformers import TrainerCallback, set_seed
from trl import SFTConfig

from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.evaluate.held_out import Scores, held_out_nll
from helpers.evaluate.intervals import paired_difference, told_interval
from helpers.files import read_jsonl
from helpers.model.load import load_base_model
from helpers.model.lora import lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.train.arguments import QUIET, sft_arguments
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
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4, 1e-3])
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for rate in options.rates:
            config = RunConfig.load(
                options.preset, learning_rate=rate, max_steps=options.steps, compute_dtype="bfloat16"
            )
            run = RunDir(Path(folder) / str(rate))
            run.path.mkdir()
            prepare(config, run, load_tokenizer(config))
            found = {name: train(run, config, kind) for name, kind in FORMATS.items()}
            gap = paired_difference(found["float32"][0].nll, found["bfloat16"][0].nll, found["float32"][0].tokens)
            for name, (scores, moved) in found.items():
                row = {"rate": f"{rate:g}", "adapter": name, "held-out": f"{scores.nll_per_token:.3f}"}
                row |= {"A moved": f"{moved['lora_A']:.0%}", "B moved": f"{moved['lora_B']:.0%}"}
                rows.append(row | {"worse by": ""})
            rows[-2]["worse by"] = f"{gap['difference']:.3f} ({told_interval(gap['low'], gap['high'], '.3f')})"
            print(Table(rows), flush=True)


def train(run: RunDir, config: RunConfig, kind: torch.dtype) -> tuple[Scores, dict]:
    """Scores of the held-out rows after the training, and the shares that moved in its last quarter."""
    tokenizer, quarter = load_tokenizer(config), LastQuarter()
    set_seed(config.seed)
    trainer = LeanTrainer(
        model=load_base_model(config),
        args=SFTConfig(str(run.trainer), **(sft_arguments(config) | QUIET | {"disable_tqdm": True})),
        train_dataset=encode_rows(read_jsonl(run.train_jsonl), tokenizer, config),
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[quarter],
    )
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(kind)
    trainer.train()
    now, moved = dict(trainer.model.named_parameters()), {}
    for part in ("lora_A", "lora_B"):
        same = [(now[name] == old).float().mean().item() for name, old in quarter.kept.items() if part in name]
        moved[part] = 1 - sum(same) / len(same)
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    return held_out_nll(model, encode_rows(read_jsonl(run.eval_jsonl), tokenizer, config)), moved


if __name__ == "__main__":
    main()
