"""torch's own MemTracker beside `StorageTracker`, on the same step without numbers: OMP_NUM_THREADS=1 python -m
proofs.bench_mem_tracker

Result of 2026-11-29, one core of a 2-core AMD EPYC CPU (AVX512-BF16) beside other work, torch 2.13.0, for two of the
architectures of proofs/proof_planner.py (tiny models, all layers, a CPU's step): both count the same bytes, 0.001 %
apart, and torch's takes 4 to 5 times as long: llama 16.03 MB in 5.5 s against 25.1 s, qwen3 17.55 MB in 6.1 s against
26.4 s. Earlier that day, before the plan followed a CPU's own branch, 16 of them were read: at most 0.005 % apart, 2.6
to 13 times as long.

Not taken, for four reasons:
- it cannot track a frozen weight: it puts a gradient hook on every parameter, and torch refuses (see `frozen` below);
- it has one peak for the whole step. The peak of a large model is taken from a few of its layers
  (`simulation._extrapolated`), and that is linear in the layers only inside a phase (loss, backward of the last layer,
  of the others, optimizer);
- at each operation it walks over all modules seen so far: quadratic in the layers;
- it is private (`torch.distributed._tools`), and would replace the 70 lines of tracker.py alone: model, loss and
  optimizer without numbers are needed for either.
"""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from helpers.plan.fake_step import Batch, forward_backward, kernels, make_optimizer, quiet
from helpers.plan.obstacles import settings_that_work
from helpers.plan.shape import Shape
from helpers.plan.simulation import prime_caches, simulate
from helpers.plan.skeleton import fill, skeleton
from helpers.settings import RunConfig
from proofs.proof_planner import ARCHITECTURES


def by_mem_tracker(config: RunConfig, numbers: dict) -> int:
    """The peak of the step that `simulate(config, numbers, gpu=False, whole=True)` counts, by torch's tracker."""
    note = SimpleNamespace(phase="", track=lambda *args: None)  # in the place of a StorageTracker
    with quiet(), kernels(gpu=False):
        prime_caches()
        model = skeleton(config, numbers)
        with FakeTensorMode(allow_non_fake_inputs=True):
            fill(model, config, note)
            trained = [weight for weight in model.parameters() if weight.requires_grad]
            optimizer = make_optimizer(config, trained, gpu=False)
            for weight in trained:
                weight.grad = torch.zeros_like(weight)
            optimizer.step()
            optimizer.zero_grad()
            states = [getattr(module, "quant_state", None) for module in model.modules()]
            states = [part for state in states if state for part in (state, state.state2) if part]
            tracker, frozen = MemTracker(), (SimpleNamespace(remove=lambda: None),) * 2
            handles = {weight: frozen for weight in model.parameters() if not weight.requires_grad}
            tracker._param_to_grad_hook_handles.update(handles)
            tracker.track_external(
                model, optimizer, *[table for state in states for table in (state.absmax, state.code)]
            )
            with tracker:
                forward_backward(model, config, Batch.of(config, gpu=False), note)
                torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    return peak["Total"]


def main() -> None:
    for kind, sizes in ARCHITECTURES.items():
        numbers, settings = (
            {"model_type": kind, **sizes},
            {"per_device_train_batch_size": 2, "compute_dtype": "bfloat16"},
        )
        config = RunConfig.load("tiny", lora_dropout=0.0, lora_r=16, load_in_4bit=kind != "mamba", **settings)
        config = replace(config, **settings_that_work(config, Shape.of(numbers)))
        begin = time.perf_counter()
        ours, middle = simulate(config, numbers, gpu=False, whole=True).peak, time.perf_counter()
        theirs, end = by_mem_tracker(config, numbers), time.perf_counter()
        print(
            f"{kind:18} {ours / 1e6:8.2f} MB in {middle - begin:4.1f} s; MemTracker {theirs / ours - 1:+.3%} in "
            f"{end - middle:4.1f} s"
        )


if __name__ == "__main__":
    main()
