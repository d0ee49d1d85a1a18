"""The same training step, run without memory: transformers, peft, bitsandbytes, TRL's loss, backward, optimizer.

Under torch's FakeTensorMode every tensor has a shape and a dtype but no numbers. `StorageLife` follows the life of every
storage, so the peak is counted, not guessed. Layers of one kind need the same: a few of each are run, and the step with
one more tells what each of the others adds. `whole` runs all of them; proofs/proof_planner.py holds the two together.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.model.anatomy import FAILURES, kind_of, layer_list, on_meta, one_line
from helpers.plan.life import StorageLife
from helpers.plan.step import (
    fill,
    gpu_kernels,
    lean_loss,
    make_optimizer,
    prime_caches,
    quiet,
    skeleton,
    tiled_loss,
)
from helpers.settings import RunConfig

MOST_TOKENS = 2**20  # in one step: beyond, the loss in tiles takes minutes and no card is large enough
LAST, REST = "backward of the last layer", "backward of the other layers"


@dataclass(frozen=True)
class Simulated:
    """The fullest moment of the step: bytes by component, in which phase it was, and how many layers were run for it."""

    components: dict[str, int]
    phase: str
    seconds: float
    layers: int

    @property
    def peak(self) -> int:
        return sum(self.components.values())


def simulate(
    config: RunConfig,
    model_config: dict,
    batch: int = 0,
    length: int = 0,
    gpu: bool = True,
    labelled: float = 1.0,
    whole: bool = False,
) -> Simulated:
    """The peak of one optimizer step on `batch` rows of `length` tokens (0: the config's).

    `gpu` True follows what a GPU runs (fused dropout, TRL's Triton loss), False what a CPU runs (`LeanTrainer`'s loss,
    whose logits grow with the share of `labelled` tokens). The result is kept: the same question costs nothing.
    Raises NotImplementedError, with the reason, for an architecture that cannot be run this way, or absurdly many tokens.
    """
    if gpu and config.compute_dtype == "auto":  # what a GPU computes in, whatever this machine does
        config = replace(config, compute_dtype="bfloat16")
    batch, length = batch or config.per_device_train_batch_size, length or config.max_length
    if batch * length > MOST_TOKENS:
        raise NotImplementedError(f"{batch:,} rows of {length:,} tokens are too many to simulate.")
    # what decides nothing here is left out, so that the same step is found again
    asked = replace(RunConfig(), **{name: getattr(config, name) for name in DECIDES})
    rows, columns = (1, batch * length) if config.packing else (batch, length)
    text = json.dumps(model_config, sort_keys=True, default=str)
    found = _simulated(asked, text, rows, columns, gpu, labelled, whole)
    if isinstance(found, str):
        # where the model's own code reads a weight that bitsandbytes has packed (Mamba), no training would run either
        plain = asked.load_in_4bit and _simulated(replace(asked, load_in_4bit=False), text, 1, 8, gpu, 1.0, False)
        told = " A training would fail as well: set load_in_4bit = False." if isinstance(plain, Simulated) else ""
        raise NotImplementedError(found + told)
    return found


DECIDES = (
    "load_in_4bit quant_type double_quant compute_dtype attn_implementation packing lora_r lora_alpha lora_dropout "
    "lora_target_modules use_rslora gradient_accumulation_steps max_grad_norm optim activation_checkpointing"
).split()


@functools.lru_cache(maxsize=256)
def _simulated(config: RunConfig, text: str, rows: int, columns: int, gpu: bool, labelled: float, whole: bool):
    """A `Simulated`, or the reason why there is none: that is kept as well."""
    start, model_config = time.perf_counter(), json.loads(text)

    def run(places: tuple[int, ...] = ()) -> dict[str, Counter]:
        return _peaks(config, model_config, rows, columns, gpu, labelled, places)

    try:
        with quiet(), gpu_kernels() if gpu else contextlib.nullcontext():
            prime_caches()
            plan = None if whole else a_few_of_each(model_config)
            try:
                peaks, layers = (run(), 0) if plan is None else _extrapolated(run, *plan)
            except FAILURES:
                if plan is None:
                    raise
                peaks, layers = run(), 0  # its layers are not alone: run them all
    except FAILURES as error:
        return f"The architecture {model_config.get('model_type', '?')!r} cannot be simulated ({one_line(error)})."
    phase = max(peaks, key=lambda name: sum(peaks[name].values()))
    components = {name: size for name, size in peaks[phase].items() if size > 0}
    return Simulated(components, phase, time.perf_counter() - start, layers)


def a_few_of_each(model_config: dict) -> tuple[tuple[int, ...], dict] | None:
    """The places of the layers to run, and for each kind of layer one more place and how many of it are left out.

    None where that would save nothing.
    """
    model = on_meta(model_config, dtype=torch.bfloat16)
    layers, settings = layer_list(model), model.config.get_text_config(decoder=True)
    if layers is None:
        return None
    groups: dict[tuple, list[int]] = {}
    for place, layer in enumerate(layers):
        groups.setdefault(kind_of(layer, place, settings), []).append(place)
    kept = sorted({place for group in groups.values() for place in (group[0], group[-1])})
    more = {group[1]: len(group) - 2 for group in groups.values() if len(group) > 2}
    run = len(kept) + len(more) * (len(kept) + 1)
    return (tuple(kept), more) if run < len(layers) else None


def _extrapolated(run, kept: tuple[int, ...], more: dict[int, int]) -> tuple[dict[str, Counter], int]:
    base, total = run(kept), {}
    total = {phase: Counter(parts) for phase, parts in base.items()}
    for place, missing in more.items():
        longer = run(tuple(sorted((*kept, place))))
        for phase, parts in longer.items():
            for name in {*parts, *base.get(phase, {})}:
                total[phase][name] += missing * (parts[name] - base[phase][name])
    return total, len(kept)


def _peaks(config, model_config, rows, columns, gpu, labelled, places) -> dict[str, Counter]:
    model = skeleton(config, model_config, places)
    life = StorageLife(model.config.get_text_config(decoder=True).vocab_size)
    with FakeTensorMode(allow_non_fake_inputs=True), life:
        fill(model, config, life)
        take_step(model, config, rows, columns, life, gpu, labelled)
    return {phase: Counter(parts) for phase, parts in life.peaks.items()}


def take_step(model, config: RunConfig, rows: int, columns: int, life: StorageLife, gpu: bool, labelled: float) -> None:
    """The optimizer's state, as a step before made it, and then the step that counts: its peaks are in `life`."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    life.phase = "optimizer state"
    optimizer = make_optimizer(config, trained, gpu)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
        life.see(parameter.grad, "gradients")
    optimizer.step()
    if config.gradient_accumulation_steps == 1:  # else those of the rows before are still there
        optimizer.zero_grad()
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(lambda p: life.see(p.grad, "gradients"))
    life.start_again()
    forward_backward(model, config, rows, columns, life, gpu, labelled)
    life.phase = "optimizer step"
    torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()


def forward_backward(model, config, rows: int, columns: int, life: StorageLife, gpu: bool, labelled: float) -> None:
    """Forward and backward on one batch; padded unless it is a single row, packed when the config packs."""
    from helpers.model.device import compute_dtype

    life.phase = "forward"
    ids = torch.ones(rows, columns, dtype=torch.long)
    inputs = {"input_ids": ids}
    dense = config.attn_implementation != "flash_attention_2"
    if dense and (config.packing or rows > 1):  # rows that are packed or padded need a mask of rows x columns x columns
        attends = any("attn" in name or "attention" in name for name, _ in model.named_modules())
        shape = (rows, 1, columns, columns) if attends else (rows, columns)
        inputs["attention_mask"] = torch.ones(shape, dtype=torch.bool)
    layers = layer_list(model.get_base_model())
    handle = layers[-1].register_forward_pre_hook(_marks_its_end(life), with_kwargs=True) if layers else None
    dtype = compute_dtype(config)
    with torch.autocast("cpu", dtype=dtype) if dtype != torch.float32 else contextlib.nullcontext():
        # `LeanTrainer` leaves the loss to TRL on a GPU, and where the use of the experts is a part of it
        tiled = gpu or getattr(model.config.get_text_config(), "output_router_logits", False)
        loss = tiled_loss(model, inputs) if tiled else lean_loss(model, inputs, labelled)
    if handle:
        handle.remove()
    life.phase = LAST
    loss.backward()


def _marks_its_end(life: StorageLife):
    """A hook for the last layer: once the gradient of its input is there, the backward pass is at the other layers."""

    def hook(module, args, kwargs):
        hidden = args[0] if args else kwargs["hidden_states"]
        if hidden.requires_grad:
            hidden.register_hook(lambda gradient: setattr(life, "phase", REST))

    return hook
