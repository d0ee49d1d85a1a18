"""The same training step, run without memory: transformers, peft, bitsandbytes, TRL's loss, backward, optimizer.

Under torch's FakeTensorMode every tensor has a shape and a dtype but no numbers. `StorageTracker` follows the life of
every storage, so the peak is counted, not guessed. Layers of one kind need the same: a few of each are run, and the
step with one more tells what each of the others adds. `whole` runs all (proofs/proof_planner.py holds both together).
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import dataclass, replace

import torch
from bitsandbytes.functional import quantize_4bit
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.model.device import is_eager
from helpers.model.meta import layer_kinds, on_meta, one_line
from helpers.plan.fake_step import Batch, kernels, quiet, take_step
from helpers.plan.parts import stays_unpacked
from helpers.plan.shape import Shape
from helpers.plan.skeleton import fill, skeleton, work_as_on_a_cpu
from helpers.plan.tracker import StorageTracker
from helpers.settings import RunConfig
from helpers.show.words import _

MOST_TOKENS = 2**20  # in one step: beyond, the loss in tiles takes minutes and no card is large enough
DECIDES = (
    "load_in_4bit quant_type double_quant compute_dtype attn_implementation packing lora_r lora_alpha lora_dropout "
    "lora_target_modules use_rslora gradient_accumulation_steps max_grad_norm optim activation_checkpointing"
).split()


@dataclass(frozen=True)
class Simulated:
    """The fullest point of the step: bytes by component, its phase, and how many layers were run for it (0: all)."""

    components: dict[str, int]
    phase: str = ""
    layers: int = 0
    refused: str = ""  # why there is none

    @property
    def peak(self) -> int:
        return sum(self.components.values())


def simulate(config: RunConfig, model_config: dict, gpu: bool = True, whole: bool = False) -> Simulated:
    """The peak of one optimizer step with these settings. The result is kept: the same question costs nothing.

    `gpu` True follows what a GPU runs (fused dropout, TRL's Triton loss), False what a CPU runs (`LeanTrainer`'s loss).
    Raises NotImplementedError with the reason: an architecture that cannot be run so, or absurdly many tokens.
    """
    if gpu and config.compute_dtype == "auto":  # what a GPU computes in, whatever this machine does
        config = replace(config, compute_dtype="bfloat16")
    batch = Batch.of(config, gpu, stays_unpacked(config, Shape.of(model_config), gpu))
    if batch.rows * batch.length > MOST_TOKENS:
        rows, length = f"{config.per_device_train_batch_size:,}", f"{config.max_length:,}"
        many = _("{rows} rows of {length} tokens are too many to simulate.")
        raise NotImplementedError(many.format(rows=rows, length=length))
    if is_eager(config, gpu):  # "auto" says it by a length that is left out below
        config = replace(config, attn_implementation="eager")
    # what decides nothing here is left out, so that the same step is found again
    config = replace(RunConfig(), **{name: getattr(config, name) for name in DECIDES})
    text = json.dumps(model_config, sort_keys=True, default=str)
    result = _simulated(config, text, batch, whole)
    if not result.refused:
        return result
    reason = _("The architecture {kind} cannot be simulated ({reason}).")
    reason = reason.format(kind=repr(model_config.get("model_type", "?")), reason=result.refused)
    # where the model's own code reads a weight that bitsandbytes has packed (Mamba), no training would run either
    plain = replace(config, load_in_4bit=False)
    if config.load_in_4bit and not _simulated(plain, text, Batch(1, 8, gpu), False).refused:
        reason += " " + _("A training would fail as well: set load_in_4bit = False.")
    raise NotImplementedError(reason)


@functools.lru_cache(maxsize=256)
def _simulated(config: RunConfig, text: str, batch: Batch, whole: bool) -> Simulated:
    model_config = json.loads(text)
    run = functools.partial(_peaks, config, model_config, batch)
    try:
        with quiet(), kernels(batch.gpu):
            prime_caches()
            plan = None if whole else a_few_of_each(model_config)
            peaks, layers = _extrapolated(run, *plan) if plan else (run(), 0)
    except Exception as error:  # whatever a model's code raises over tensors without numbers: the sum is used
        return Simulated({}, refused=one_line(error))
    phase = max(peaks, key=lambda name: sum(peaks[name].values()))
    return Simulated({name: size for name, size in peaks[phase].items() if size > 0}, phase, layers)


def a_few_of_each(model_config: dict) -> tuple[tuple[int, ...], dict] | None:
    """The places of the layers to run, and of each kind one more place -> how many are left out; or None."""
    _path, kinds = layer_kinds(on_meta(model_config, dtype=torch.bfloat16))
    groups: dict[tuple, list[int]] = {}
    for place, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(place)
    kept = sorted({place for group in groups.values() for place in (group[0], group[-1])})
    more = {group[1]: len(group) - 2 for group in groups.values() if len(group) > 2}
    run = len(kept) + len(more) * (len(kept) + 1)
    return (tuple(kept), more) if run < len(kinds) else None


def _extrapolated(run, kept: tuple[int, ...], more: dict[int, int]) -> tuple[dict[str, Counter], int]:
    """Peaks of the whole model from those of a few layers, or of all where layers need each other; the layers run."""
    try:
        base = run(kept)
        total = {phase: Counter(parts) for phase, parts in base.items()}
        for place, missing in more.items():
            for phase, parts in run(tuple(sorted((*kept, place)))).items():
                for name in {*parts, *base.get(phase, {})}:
                    total[phase][name] += missing * (parts[name] - base[phase][name])
    except Exception:  # layers that look at each other (shared keys and values); where all fail too, it is raised
        return run(), 0
    return total, len(kept)


def _peaks(config: RunConfig, model_config: dict, batch: Batch, places: tuple[int, ...] = ()) -> dict[str, Counter]:
    model = skeleton(config, model_config, places)
    tracker = StorageTracker(model.config.get_text_config(decoder=True).vocab_size)
    with FakeTensorMode(allow_non_fake_inputs=True), tracker:
        fill(model, config, tracker)
        if not batch.gpu:
            work_as_on_a_cpu(model, batch.unpacked, tracker)
        take_step(model, config, batch, tracker)
    return {phase: Counter(parts) for phase, parts in tracker.peaks.items()}


def prime_caches() -> None:
    """bitsandbytes keeps its code tables for ever: make them of real numbers before any fake tensor is about."""
    quantize_4bit(torch.zeros(64, 64), compress_statistics=True, quant_type="nf4")
