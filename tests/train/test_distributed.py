"""Notebook 04 as a script, on one process and on two (gloo, CPU; DDP and FSDP2): the same global batch, the same losses."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from bitsandbytes.nn import Linear4bit, Params4bit
from safetensors.torch import load_file

from helpers.files import read_jsonl
from helpers.model.device import device_map
from helpers.model.quantise import quantization_config
from helpers.runs import RunDir
from helpers.runs.forks import share
from helpers.settings import RunConfig
from helpers.train import launch as launching
from helpers.train.launch import NOTEBOOK, launch_options, notebook_script
from helpers.train.trainer import keep_losses_whole
from tests.forked import forked

# float32 and no dropout: the two differ in the order of sums, and in how the bfloat16 adapter is rounded after it
SETTINGS = {"compute_dtype": "float32", "lora_dropout": 0.0, "learning_rate": 1e-3, "sort_by_length": True}
SETTINGS |= {"max_steps": 6, "logging_steps": 1, "eval_steps": 6, "save_steps": 3}


# accelerate shards on GPUs only: told that these two processes are such, it does on a CPU what it does there
AS_ON_GPUS = """
from accelerate.state import AcceleratorState, DistributedType, PartialState

begin = AcceleratorState.__init__

def __init__(self, *args, fsdp_plugin=None, **kwargs):
    begin(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None:
        self.fsdp_plugin, self.distributed_type = fsdp_plugin, DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP

AcceleratorState.__init__ = __init__
"""
# what each process holds of the base: packed numbers, and how many of its 4-bit layers are whole; in a file of its own,
# since two processes that print at once cut each other's lines
HELD = """
import json
from pathlib import Path

from bitsandbytes.nn import Linear4bit
from torch.distributed.tensor import DTensor

layers = [module for module in trainer.model.modules() if isinstance(module, Linear4bit)]
held = sum(layer.weight.to_local().numel() for layer in layers if isinstance(layer.weight, DTensor))
whole = sum(not isinstance(layer.weight, DTensor) for layer in layers)
counts = {"held": held, "of": sum(layer.weight.numel() for layer in layers), "whole": whole}
Path(f"held-{os.environ['RANK']}.json").write_text(json.dumps(counts))
"""

# what a page that is left open still holds at its end, and how DDP was wrapped
LEFT = """
import gc
import json
from pathlib import Path

from transformers import PreTrainedModel

gc.collect()
models = [one for one in gc.get_objects() if issubclass(type(one), PreTrainedModel)]
left = sum(one.device.type != "meta" for one in models)  # one on meta, to count a cache with, holds no numbers
Path(f"left-{os.environ.get('RANK', 0)}.json").write_text(json.dumps({"models": left, "looks": looks_for_unused}))
"""
WRAPPED = 'looks_for_unused = getattr(trainer.model_wrapped, "find_unused_parameters", None)\n'
TRAINED = "kept = use_kept("  # the line of 04 behind which the model is still wrapped


@pytest.fixture(scope="module")
def start():
    """What starts a process that has imported the libraries of 04."""
    with forked("trl.trainer.sft_trainer", "peft", "datasets", "bitsandbytes", "helpers.train.trainer") as run:
        yield run


@pytest.fixture(scope="module")
def alone(trained_run, tmp_path_factory, start):
    """The run of one process, with its metrics."""
    folder = tmp_path_factory.mktemp("alone")
    rows = train(trained_run, folder, 1, start)
    return RunDir(folder / "on-1"), rows


def train(trained_run, folder, processes: int, start, sharded: bool = False, **changes) -> list[dict]:
    run = RunDir(folder / (f"on-{processes}" + "-sharded" * sharded))
    for name in ("data", "data_report.json"):
        share(trained_run.path / name, run.path / name)
    values = json.loads(trained_run.config_json.read_text())
    batch = 8 // processes
    values |= {**SETTINGS, **changes, "run_name": run.path.name, "per_device_train_batch_size": batch}
    config = RunConfig(**values)
    run.save_config(config)
    launch(run, folder, processes, start, sharded)
    return read_jsonl(run.metrics)


def launch(run, folder, processes: int, start, sharded: bool = False) -> str:
    """Notebook 04 as a script, on `processes`; what it printed."""
    script = run.path / "04.py"
    code = notebook_script(NOTEBOOK, sharded)
    assert code.count(f"    {TRAINED}") == 1
    watched = code.replace(f"    {TRAINED}", f"    {WRAPPED}    {TRAINED}") + LEFT
    script.write_text(AS_ON_GPUS + code + HELD if sharded else watched)
    command = [sys.executable, *(launch_options(processes, sharded) if processes > 1 else []), str(script)]
    # accelerate starts several processes for GPUs only; told to use the CPU in them, they talk by gloo
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment |= {"QLORA_RUNS_DIR": str(folder), "QLORA_RUN_NAME": run.path.name}
    begin = start if processes == 1 else subprocess.run
    done = begin(command, cwd=run.path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (run.adapter / "adapter_model.safetensors").exists() and not run.lock_file.exists()
    if processes > 1:
        names = {path.name for path in (run.trainer / "checkpoint-6").iterdir()}
        assert {"rng_state_0.pth", "rng_state_1.pth", "complete.json"} <= names
    return done.stdout


@pytest.mark.slow
def test_two_processes_train_as_one_and_so_does_the_merge_in_4_bits(trained_run, alone, tmp_path, start):
    """Three plain steps, then three of `merge_aware`; six plain steps are compared below, where layers are shared."""
    aware = {"merge_aware": True, "merge_aware_from": 0.5}
    one, two = (train(trained_run, tmp_path, count, start, **aware) for count in (1, 2))
    losses = [[row["loss"] for row in rows if "loss" in row] for rows in (one, two, alone[1])]
    assert losses[0] == pytest.approx(losses[1], rel=5e-4) and len(losses[0]) == 6
    assert losses[0][:3] == losses[2][:3] and losses[0][3] != losses[2][3]  # from the fourth step on
    assert losses[2][-1] < losses[2][0]
    assert one[-1]["tokens"] == two[-1]["tokens"]
    held = [json.loads((tmp_path / f"on-{count}/held_out.json").read_text()) for count in (1, 2)]
    assert held[0]["nll"] == pytest.approx(held[1]["nll"], rel=5e-3) and held[0]["step"] == held[1]["step"]
    left = [json.loads((tmp_path / f"on-2/left-{rank}.json").read_text()) for rank in range(2)]
    assert left == [{"models": 0, "looks": False}] * 2  # 05 may need all of the card

    # half of the run on two, the other half on one: no row is left out, no row comes twice
    run = RunDir(tmp_path / "on-2")
    shutil.rmtree(run.trainer / "checkpoint-6")
    told = launch(run, tmp_path, 1, start)
    assert "Resuming from checkpoint-3." in told and "gradient_accumulation_steps is 2 instead of 1" in told
    resumed = read_jsonl(run.metrics)
    assert [row["loss"] for row in resumed if "loss" in row] == pytest.approx(losses[1], rel=5e-4)
    assert resumed[-1]["tokens"] == two[-1]["tokens"]


@pytest.mark.slow
def test_two_processes_that_share_every_layer_train_as_one(trained_run, alone, tmp_path, start):
    # real 4-bit layers; by hand on 2026-11-25 losses differed by 1e-7 of themselves, the adapters by 3e-6 (2-core AMD EPYC)
    one, two = alone[1], train(trained_run, tmp_path, 2, start, sharded=True)
    for name in ("loss", "grad_norm"):
        values = [[row[name] for row in rows if name in row] for rows in (one, two)]
        assert values[0] == pytest.approx(values[1], rel=1e-5) and len(values[0]) == 6
    run, single = RunDir(tmp_path / "on-2-sharded"), alone[0]
    found, wanted = (json.loads(each.held_out.read_text()) for each in (run, single))
    assert found["nll"] == pytest.approx(wanted["nll"], rel=1e-5) and found["step"] == wanted["step"]
    trained = adapter(run)
    assert same(trained, adapter(single))

    # stopped after step 3, begun again: the same adapter, on both sides of the stop
    shutil.rmtree(run.trainer / "checkpoint-6")
    shutil.rmtree(run.adapter)
    told = launch(run, tmp_path, 2, start, sharded=True)
    assert "Resuming from checkpoint-3." in told and "Ask" not in told
    resumed = read_jsonl(run.metrics)
    assert [row["loss"] for row in resumed if "loss" in row] == pytest.approx([r["loss"] for r in two if "loss" in r])
    assert same(trained, adapter(run))
    held = [json.loads((run.path / f"held-{rank}.json").read_text()) for rank in range(2)]
    assert all(one["held"] * 2 == one["of"] and one["whole"] == 0 for one in held)


def adapter(run) -> dict:
    return load_file(run.adapter / "adapter_model.safetensors")


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_what_cannot_be_sharded_is_refused(trained_run):
    config = RunConfig.from_json(trained_run.config_json.read_text())
    told = r"optim='paged_adamw_32bit' cannot update a part of a weight.*optim='adamw_torch'"
    with pytest.raises(ValueError, match=told):
        launching.start(trained_run, replace(config, optim="paged_adamw_32bit"), processes=2, sharded=True)
    with pytest.raises(ValueError, match="processes=1: there is nothing to share"):
        launching.start(trained_run, config, sharded=True)


def test_under_fsdp_losses_are_not_rounded(monkeypatch):
    monkeypatch.setenv("FSDP_VERSION", "2")
    plugin = FullyShardedDataParallelPlugin()
    keep_losses_whole(plugin)  # float32: nothing to keep
    plugin.set_mixed_precision("bf16")
    assert plugin.mixed_precision_policy.output_dtype == torch.bfloat16
    keep_losses_whole(plugin)
    policy = plugin.mixed_precision_policy
    assert (policy.param_dtype, policy.output_dtype) == (torch.bfloat16, None)


def test_packed_weights_lie_in_floats_under_fsdp_alone(monkeypatch):
    config = RunConfig.load("tiny", compute_dtype="bfloat16")
    assert quantization_config(config).bnb_4bit_quant_storage == torch.uint8
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert quantization_config(config).bnb_4bit_quant_storage == torch.bfloat16
    assert device_map(config) == {"": "cpu"}
    # fully_shard brings a layer to its card by Tensor.to: its constants, which are no parameters, have to come along
    weight = torch.randn(128, 64).bfloat16()
    layer = Linear4bit(64, 128, bias=False, compute_dtype=torch.bfloat16, quant_storage=torch.bfloat16)
    layer.weight = Params4bit(weight, quant_storage=torch.bfloat16, module=layer).to("cpu")
    layer.weight.to("meta")
    assert layer.quant_state.absmax.device.type == layer.quant_state.state2.absmax.device.type == "meta"
