"""Speed and memory of one short training, plain TRL against ours: the same rows, labels, adapter, optimizer and seed.

    python -m proofs.bench_training --data ChatbotData.csv [--model FOLDER_OR_ID|wide] [--steps 60] [--only ours]

Each variant runs in a process of its own, one after the other, so that its peak memory is its own:
  classic   SFTTrainer with the switches of the 2023 recipe: checkpointing, rows sorted by length, paged AdamW
  default   SFTTrainer as it comes (checkpointing on, rows in random order)
  ours      LeanTrainer: head at labelled positions only, no checkpointing, rows sorted by length, padded to multiples
  of 8
proofs/peer_llama_factory.py runs the same steps by LLaMA-Factory.

Results of 2026-11-24, 2-core AMD EPYC CPU (AVX512-BF16), nothing else running, 60 steps of 8 rows, peak resident
memory:

    SmolLM2-135M                     rows/s   peak memory   loss, last 10 steps
    default                            1.30       3.69 GB   1.562     rows in random order
    classic                            1.56       3.42 GB   1.530
    ours                               3.20       3.13 GB   1.546     2.05 times classic

    --model wide (262,144 words)
    default                            2.56       1.90 GB   9.62      rows in random order
    classic                            3.09       1.89 GB   9.23
    LLaMA-Factory 0.9.5                3.97       2.90 GB   8.65      its adapter is in float32; 2.59 in a second run
    ours                               9.51       1.83 GB   9.35      2.39 times LLaMA-Factory's better run

The same code differs by 10 % from run to run. The wide model's peak is about 1.8 GB as soon as it is loaded, for all
alike. With rows padded to the longest only, ours took 3.71 GB at 2.97 rows/s on SmolLM2, and 3.15 GB at 3.23 in
multiples of 8: oneDNN compiles its kernels for every length and keeps them. Losses of single runs differ with the order
of the rows; tests/train/test_training.py compares loss and gradient on one batch in float32. On a machine that does
other work, set OMP_WAIT_POLICY=PASSIVE: threads that spin while they wait made the same steps many times slower.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers.data.turns import listed_turns
from helpers.settings import PAD_TO, RunConfig
from helpers.show.tables import Table
from helpers.show.units import human_bytes

ROWS = 600
SORTED = {"train_sampling_strategy": "group_by_length"}
VARIANTS = {
    "classic": {"activation_checkpointing": True, "optim": "paged_adamw_32bit", **SORTED},
    "default": {},
    "ours": {"activation_checkpointing": False, "pad_to_multiple_of": PAD_TO, **SORTED},
}
WIDE = "wide"  # --model wide: made here, a model of 270 M parameters of which 168 M are its 262,144 words


def measure(variant: str, config: RunConfig, folder: str) -> dict:
    """Train `variant` and give rows/s, seconds, CPU seconds of all cores, peak memory, and the mean loss of the last 10
    steps."""
    import torch
    from transformers import TrainerCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    from helpers.data.labels import encode_rows
    from helpers.model.load import load_base_model
    from helpers.model.lora import lora_config
    from helpers.model.tokenizer import load_tokenizer
    from helpers.train.metrics import peak_memory_bytes
    from helpers.train.trainer import LeanTrainer

    class Clock(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            self.start, self.cpu = time.perf_counter(), time.process_time()

        def on_train_end(self, *args, **kwargs):
            self.seconds, self.cpu = time.perf_counter() - self.start, time.process_time() - self.cpu

    tokenizer, clock = load_tokenizer(config), Clock()
    rows = encode_rows(conversations(config), tokenizer, config)
    set_seed(config.seed)
    trainer = (LeanTrainer if variant == "ours" else SFTTrainer)(
        model=load_base_model(config),
        args=SFTConfig(
            output_dir=folder,
            use_cpu=not torch.cuda.is_available(),
            max_steps=config.max_steps,
            per_device_train_batch_size=config.per_device_train_batch_size,
            learning_rate=config.learning_rate,
            max_length=config.max_length,
            logging_steps=1,
            save_strategy="no",
            seed=config.seed,
            **VARIANTS[variant],
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[clock],
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    done = config.max_steps * config.per_device_train_batch_size
    return {
        "variant": variant,
        "rows/s": done / clock.seconds,
        "seconds": clock.seconds,
        "CPU seconds": clock.cpu,
        "peak memory": human_bytes(peak_memory_bytes()),
        "loss, last 10 steps": sum(losses[-10:]) / len(losses[-10:]),
    }


def conversations(config: RunConfig) -> list[dict]:
    """The first `ROWS` rows of the data set after a shuffle with the run's seed, as messages."""
    import csv
    import random

    with open(config.dataset_id, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    random.Random(config.seed).shuffle(rows)
    return [{"messages": listed_turns([row["Q"], row["A"]], [])} for row in rows[:ROWS]]


def build_wide_model(folder: Path, data: str) -> str:
    """A model folder of Gemma-3-270M's shape with random weights, and a tokenizer that knows the words of `data`.

    Speed and memory are those of a trained model of this shape; the losses say only that all variants compute the same.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<eos>", "<bos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=12000,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([data], trainer)
    names = dict(zip(("pad_token", "eos_token", "bos_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    shape = {"hidden_size": 640, "intermediate_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 4}
    config = Gemma3TextConfig(vocab_size=262_144, num_key_value_heads=1, head_dim=256, **shape)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CSV file with columns Q and A")
    parser.add_argument("--model", default=RunConfig.model_id)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--only", choices=VARIANTS, help="one variant, in this process; prints JSON")
    options = parser.parse_args()
    config = RunConfig(
        dataset_id=options.data, model_id=options.model, max_steps=options.steps, lora_dropout=0.0
    )  # no dropout: the variants see the same numbers
    if options.only:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(options.only, config, folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        model = build_wide_model(Path(folder), options.data) if options.model == WIDE else options.model
        compare(options.data, model, options.steps)


def compare(data: str, model: str, steps: int) -> None:
    """Run every variant in a process of its own, and print the table after each."""
    command = [sys.executable, "-m", "proofs.bench_training", "--data", data, "--model", model]
    results = []
    for variant in VARIANTS:
        done = subprocess.run([*command, "--steps", str(steps), "--only", variant], stdout=-1, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(Table(results), flush=True)


if __name__ == "__main__":
    main()
