"""What a training step costs on a CPU, and what of it are products: python -m proofs.bench_step [--steps 4] [--rows 4]
[--tokens 144]

One thread, one process, the demo's model and adapter, the same batch for all: CPU seconds of a forward and backward
pass, the loss, and the cosine of the gradient to that of the first line. "products alone": the matrix products of that
pass, timed by themselves, which is what the machine can do at best.

2-core AMD EPYC with AVX512-BF16, shared with other work, 2026-11-29, CPU seconds: 3.15 as it was (sdpa, peft's branch,
the mask, a bfloat16 adapter), 3.33 with a float32 adapter, 3.19 without the mask, 2.74 with eager attention, 2.50 with
one function a branch; products alone 1.66, 66 % of it.

2-core AMD EPYC with AVX2 only (products in float32), shared with other work, 2026-11-30, --steps 2: 16.7 as it was (a
bfloat16 adapter beside a float32 base), 9.2 with a float32 adapter, 8.3 without the mask, 9.4 with eager attention, 8.3
with one function a branch; products alone 6.3, 75 % of it. Eager attention wins nothing on this CPU.

2-core Intel Xeon with AMX, idle, GOMP_SPINCOUNT=1000 as in the kernel, 2026-12-01, --rows 8 --tokens 106: 1.54 with one
function a branch, products alone 0.59, 38 % of it: products are six times as fast here, the rest is not. On two cores
1.39 s where both share each product, 1.01 s with half of the rows on each; tiny: 0.087 and 0.083 s.

2-core AMD EPYC with AVX512-BF16 that multiplies at 480 GFLOP/s a core, idle, the same settings, 2026-12-01, --rows 4
--tokens 101: 0.72 to 0.75 with one function a branch, products alone 0.49 to 0.51, 68 % of it. On two cores 0.46 to
0.51 s where both share each product, 0.47 s with half of the rows on each: idle, it is the same here. A norm computed
in one function as well changed nothing that could be seen.

An older 2-core AMD EPYC with AVX2 only, idle, the same settings, 2026-12-01, --steps 2 --rows 4 --tokens 101: 9.1 as it
was, 4.7 with a float32 adapter, 4.5 without the mask, 4.4 with eager attention, 4.0 with one function a branch; what
follows was not waited for.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import torch
from transformers import set_seed

from helpers.model import branch
from helpers.model.device import compute_dtype
from helpers.model.load import load_base_model
from helpers.model.lora import lora_config
from helpers.model.tokenizer import load_tokenizer
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.train.trainer import LeanTrainer

WAYS = {  # name -> (attention, one function a branch, mask left out, adapter's format)
    "sdpa, peft's branch, mask, bfloat16": ("sdpa", False, False, torch.bfloat16),
    "the same in float32": ("sdpa", False, False, torch.float32),
    "and without the mask": ("sdpa", False, True, torch.float32),
    "eager": ("eager", False, True, torch.float32),
    "eager, one function": ("eager", True, True, torch.float32),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=144)
    parser.add_argument("--preset", default="demo")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = RunConfig.load(options.preset)
    torch.manual_seed(0)
    ids = torch.randint(5, 1500, (options.rows, options.tokens))
    batch = {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)}
    batch["labels"][:, : options.tokens // 2] = -100
    batch["attention_mask"][:, -8:], batch["labels"][:, -8:] = 0, -100  # padding at the end
    trainers = {name: build(config, batch, way) for name, way in WAYS.items()}
    taken, losses = {name: [] for name in WAYS}, {}
    for step in range(options.steps + 1):  # one after the other, so that a busy machine is the same for all
        for name, trainer in trainers.items():
            seconds, losses[name] = one_step(trainer, batch, unmasked=WAYS[name][2])
            taken[name] += [seconds] * bool(step)  # the first one unpacks the layers
    first = gradient(trainers[next(iter(WAYS))])
    rows = []
    for name, trainer in trainers.items():
        cosine = torch.nn.functional.cosine_similarity(gradient(trainer), first, dim=0).item()
        rows.append({"way": name, "CPU s a step": min(taken[name]), "loss": losses[name], "cosine": cosine})
    print(Table(rows))
    print(f"products alone: {min(products(config, options.rows * options.tokens) for _ in range(2)):.2f} CPU s")
    torch.set_num_threads(2)
    print(Table([on_two_cores(trainer, batch, options.steps, whole) for whole in (True, False)]))


def build(config: RunConfig, batch: dict, way: tuple) -> LeanTrainer:
    """A trainer whose attention, branch and adapter are those of `way`, with an adapter that is not zero."""
    from datasets import Dataset
    from trl import SFTConfig

    from helpers.train.arguments import QUIET, sft_arguments

    attention, one, _unmasked, kind = way
    config = RunConfig(**{**vars(config), "attn_implementation": attention})
    set_seed(0)
    rows = Dataset.from_dict({"input_ids": batch["input_ids"].tolist(), "labels": batch["labels"].tolist()})
    known, branch.ONE = branch.ONE, branch.ONE if one else {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = LeanTrainer(
            model=load_base_model(config),
            args=SFTConfig(folder, **(sft_arguments(config) | QUIET)),
            train_dataset=rows,
            processing_class=load_tokenizer(config),
            peft_config=lora_config(config),
        )
    branch.ONE = known
    torch.manual_seed(1)
    for name, weight in trainer.model.named_parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(kind)
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    return trainer


def one_step(trainer: LeanTrainer, batch: dict, unmasked: bool) -> tuple[float, float]:
    """CPU seconds and loss of one forward and backward pass."""
    trainer.model.zero_grad()
    inputs, size = dict(batch), batch["input_ids"].shape[1]
    if not unmasked:  # as the trainer had it before: the mask of the padding, made into one of pairs
        causal = torch.ones(size, size, dtype=torch.bool).tril()
        inputs["attention_mask"] = batch["attention_mask"][:, None, None, :].bool() & causal
    start = time.process_time()
    with torch.autocast("cpu", enabled=trainer.args.bf16):
        loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    return time.process_time() - start, loss.item()


def on_two_cores(trainer: LeanTrainer, batch: dict, steps: int, whole: bool) -> dict:
    """Seconds of a step with both cores at each product, or with half of the rows on each."""
    taken, halves = [], trainer._halves
    trainer._halves = (lambda inputs: [inputs]) if whole else halves
    for _step in range(steps + 1):
        trainer.model.zero_grad()
        start, cpu = time.perf_counter(), time.process_time()
        trainer.training_step(trainer.model, dict(batch), (batch["labels"][:, 1:] != -100).sum())
        taken.append((time.perf_counter() - start, time.process_time() - cpu))
    trainer._halves = halves
    seconds, cpu = min(taken[1:])
    return {"two cores": "each product" if whole else "half of the rows each", "s": seconds, "CPU s": cpu}


def gradient(trainer: LeanTrainer) -> torch.Tensor:
    """Of all trained weights, in the same order for all."""
    return torch.cat([w.grad.float().flatten() for w in trainer.model.parameters() if w.requires_grad]).double()


def products(config: RunConfig, tokens: int) -> float:
    """CPU seconds of the products of one pass over `tokens` by themselves: layers twice (forward, and back to the
    input), branches three times, the head twice for the half of the tokens that has labels."""
    model, kind, total = load_base_model(config), compute_dtype(config), 0.0
    for name, layer in model.named_modules():
        if not isinstance(layer, torch.nn.Linear):
            continue
        head = name.endswith("lm_head")
        rows = tokens // 2 if head else tokens
        x = torch.randn(rows, layer.in_features).to(kind)
        weight = torch.randn(layer.out_features, layer.in_features).to(kind)
        y = x @ weight.T
        start = time.process_time()
        for _pass in range(2):
            torch.mm(x, weight.T), torch.mm(y, weight)
        if not head:
            a = torch.randn(config.lora_r, layer.in_features).to(kind)
            b = torch.randn(layer.out_features, config.lora_r).to(kind)
            for _pass in range(2):
                inner = x @ a.T
                inner @ b.T, y @ b, inner @ a, inner.T @ x, y.T @ inner
        total += (time.process_time() - start) / 2
    return total


if __name__ == "__main__":
    main()
