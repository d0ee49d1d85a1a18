"""The guards, each shown the thing that it guards against: fp16 overflow, quotas, clocks, other processes, other losses."""

import contextlib
import errno
import itertools
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from helpers import files
from helpers.runs import RunDir
from helpers.train import callbacks, guards
from helpers.train.arguments import QUIET
from helpers.train.checkpoints import checkpoints, mark_complete, rows_per_step
from helpers.train.failures import disk_full, failures_explained
from helpers.train.launch import launch_options
from helpers.train.loss import require_same_loss
from tests.conftest import ROOT
from tests.small_training import CONFIG, build


@pytest.fixture
def run(tmp_path) -> RunDir:
    return RunDir(tmp_path)


class ScaleOnly(TrainerCallback):
    """The scaler of fp16 without its slow float16 products on a CPU: the optimizer and the clipping see the one of a GPU."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.trainer.accelerator.native_amp = True  # after the model was prepared, so without autocast round it


def test_an_fp16_card_trains_a_float32_adapter_and_survives_an_overflow(run, monkeypatch):
    """A real GradScaler whose first scales overflow, as they do on a GPU in a healthy run."""
    trainer = build(run, bf16=False, fp16=True, max_steps=8, **QUIET)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)  # the largest power of two in float32
    monkeypatch.setattr(trainer, "compute_loss_context_manager", contextlib.nullcontext)
    trainer.add_callback(ScaleOnly())
    ScaleOnly.trainer = trainer
    trainer.train()
    norms = [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row]
    assert trainer.accelerator.scaler.get_scale() < 2.0**127, norms
    assert not norms[0] < float("inf") and norms[-1] < float("inf")  # the first steps were skipped, the last one taken


@pytest.mark.parametrize("format", ["bf16", "fp16", None])
@pytest.mark.parametrize("four_bit", [True, False])
def test_the_adapter_is_float32_in_every_training(run, format, four_bit):
    config = replace(CONFIG, load_in_4bit=four_bit, compute_dtype="bfloat16")
    trainer = build(run, config, **({"bf16": False, "fp16": False} | ({format: True} if format else {})), **QUIET)
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}


def test_steps_that_are_all_skipped_are_a_fault(run):
    guard, skips = guards.LossGuard(), SimpleNamespace(step_was_skipped=True)
    now = TrainingArguments(output_dir=str(run.path), use_cpu=True), TrainerState(), TrainerControl()
    guard.on_train_begin(*now)
    for taken in [*[skips] * (guards.SKIPPED - 1), None, *[skips] * (guards.SKIPPED - 1)]:  # None: one that was taken,
        guard.on_step_end(*now, optimizer=taken)  # at which the count begins anew
    with pytest.raises(FloatingPointError, match="32 steps in a row were skipped"):
        guard.on_step_end(*now, optimizer=skips)


@pytest.mark.parametrize(
    "warmup, steps, told", [(9, 10, ""), (10, 10, "rises for 10 steps"), (0.9, 10, ""), (100, 2, "the training has 2")]
)
def test_a_warm_up_that_outlasts_the_training_is_told(run, capsys, warmup, steps, told):
    args = TrainingArguments(output_dir=str(run.path), use_cpu=True, warmup_steps=warmup)
    guards.LossGuard().on_train_begin(args, TrainerState(max_steps=steps), TrainerControl())
    said = capsys.readouterr().out
    assert told in said and bool(said) is bool(told)


def test_several_cards_and_no_launcher_train_on_the_first(run, monkeypatch):
    from trl import SFTConfig

    made = SFTConfig.__post_init__

    def with_two_cards(args):
        made(args)
        args._n_gpu = 2

    monkeypatch.setattr(SFTConfig, "__post_init__", with_two_cards)
    assert build(run, max_steps=1, **QUIET).args.n_gpu == 1


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (RuntimeError("I/O error: Disk quota exceeded (os error 122)"), True),  # as safetensors says it
        (RuntimeError("[enforce fail at inline_container.cc:664] unexpected pos 64 vs 0"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("CUDA out of memory"), False),
    ],
)
def test_a_quota_is_a_full_disk(error, full):
    assert disk_full(error) is full


def test_a_device_side_assert_is_not_blamed_on_the_pod(run):
    refused = pytest.raises(IndexError, match="out of range .*token id.*resumes from step 0")
    with refused as told, failures_explained(run):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered\nmore")
    assert "pod." in str(told.value) and "stopped answering" not in str(told.value)


def test_a_start_without_room_leaves_the_adapter_fresh(run, monkeypatch):
    trainer = build(run, max_steps=1, **QUIET)
    real, free = files.shutil.disk_usage, iter([1, 10**12, 10**12])
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: real(path)._replace(free=next(free)))
    with pytest.raises(OSError, match="The disk is full: training needs"):
        trainer.train()
    trainer.train()  # room was made, and this cell run again, as the sentence says
    with pytest.raises(RuntimeError, match="adapter is no longer fresh: run the cell that loads the model again"):
        trainer.train()


def test_a_checkpoint_comes_by_the_clock_too(run, monkeypatch):
    looks = itertools.count(30.0, 30.0)  # half a minute passes at each look
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(looks))
    build(run, replace(CONFIG, save_minutes=1.0), max_steps=5, save_steps=1000, eval_strategy="no").train()
    # looks at 0 (start), 30, 60: step 2 saves, looks at 90 itself, and so on; step 5 is the last
    assert [path.name for path in checkpoints(run.trainer)] == ["checkpoint-5", "checkpoint-4"]


def test_steps_keep_their_rows_on_another_number_of_processes(run, capsys):
    trainer = build(run, max_steps=1, save_steps=1, gradient_accumulation_steps=2, eval_strategy="no")
    trainer.train()
    (saved,) = checkpoints(run.trainer)
    assert rows_per_step(saved) == 8  # 4 rows, twice
    trainer.keep_rows_per_step(saved)
    assert trainer.args.gradient_accumulation_steps == 2 and "rows per step" not in capsys.readouterr().out
    mark_complete(saved, 24)  # as three processes would have left it
    for _ in range(2):
        trainer.keep_rows_per_step(saved)
        assert trainer.args.gradient_accumulation_steps == 6
    assert capsys.readouterr().out.count("gradient_accumulation_steps is 6 instead of 2") == 1
    mark_complete(saved, 10)
    told = "checkpoint-1 was trained with 10 rows per step; 1 processes of 4 rows cannot"
    with pytest.raises(ValueError, match=told):
        trainer.keep_rows_per_step(saved)
    mark_complete(saved)  # an older checkpoint
    trainer.keep_rows_per_step(saved)


def test_a_request_meant_for_an_earlier_sitting_is_not_obeyed(run):
    trainer = build(run, max_steps=2, **QUIET)
    run.stop_request.write_text("1")
    trainer.train()
    assert trainer.state.global_step == 2 and not run.stop_request.exists() and not run.stopped.exists()


def test_a_request_for_this_process_that_came_early_is_obeyed(run):
    trainer = build(run, max_steps=5, eval_strategy="no")
    run.stop_request.write_text(str(os.getpid()))
    trainer.train()
    assert trainer.state.global_step == 1 and run.stopped.exists() and not run.stop_request.exists()


TWO = """
import sys, torch
from accelerate import PartialState
from helpers.model.device import first_decides
me = PartialState(cpu=True)
seen = me.process_index, first_decides(me.process_index == 0), first_decides(me.process_index == 1)
print(" ".join(map(str, seen)) + "\\n", end="", flush=True)  # one write: the other process prints as well
"""


def test_the_first_process_decides_for_all(tmp_path):
    """Two processes (gloo) that see different things: both do what the first one sees."""
    (tmp_path / "two.py").write_text(TWO)
    command = [sys.executable, *launch_options(2), str(tmp_path / "two.py")]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert sorted(done.stdout.splitlines()) == ["0 True False", "1 True False"], done.stderr[-2000:]


def recurrent_gemma(folder, tokenizer_from) -> str:
    """A small RecurrentGemma with random weights: it caps its logits, by a setting that no other architecture has."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, RecurrentGemmaConfig

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "vocab_size": len(tokenizer)}
    config = RecurrentGemmaConfig(**sizes, num_attention_heads=2, lru_width=64, head_dim=32, logits_soft_cap=0.5)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.get_output_embeddings().weight.data *= 20  # logits far above the cap, so that forgetting it shows on any row
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_experts_by_another_name_are_trained(run, tiny_model):
    """Without `name_experts`, TRL 1.16 stops at the first step: GraniteMoeConfig has no num_experts."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GraniteMoeConfig

    tokenizer, folder = AutoTokenizer.from_pretrained(tiny_model), str(run.path / "model")
    sizes = {"hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": len(tokenizer)}
    config = GraniteMoeConfig(**sizes, num_attention_heads=2, num_key_value_heads=2, num_local_experts=4)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    small = replace(CONFIG, model_id=folder, compute_dtype="float32", lora_dropout=0.0)
    trainer = build(run, replace(small, lora_target_modules="q_proj,v_proj"), bf16=False, **QUIET)
    assert trainer.aux_loss_enabled and require_same_loss(trainer, trainer.train_dataset) < 0.05


def test_a_loss_that_is_not_the_models_own_is_refused(run, tiny_model, monkeypatch):
    from trl import SFTTrainer

    from helpers.train.trainer import LeanTrainer

    llama = build(run, **QUIET)
    llama.model.train()
    assert require_same_loss(llama, llama.train_dataset) < 0.01 and llama.model.training
    source = recurrent_gemma(run.path / "model", tiny_model)
    config = replace(CONFIG, model_id=source, load_in_4bit=False, compute_dtype="float32")
    capped = build(run, config, bf16=False, **QUIET)
    assert require_same_loss(capped, capped.train_dataset) < 0.001
    monkeypatch.setattr(LeanTrainer, "compute_loss", SFTTrainer.compute_loss)  # what a GPU would use
    assert require_same_loss(llama, llama.train_dataset) < 0.01
    with pytest.raises(ValueError, match=r"loss on one row is \d.*'recurrent_gemma'.*train this one on a CPU"):
        require_same_loss(capped, capped.train_dataset)
