"""What a training needs on its device: the simulated step where the model can be simulated, else the sum, with allowances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from helpers.plan.cards import gpu
from helpers.plan.memory import (
    Part,
    adapter_parts,
    loss_part,
    mask_parts,
    number_bytes,
    step_parts,
    total,
    weight_parts,
)
from helpers.plan.shape import Shape
from helpers.settings import RunConfig

# Python with torch, transformers, peft and trl before a model is loaded: 0.4 GB of its own, and pages of libraries
LIBRARIES = 500_000_000
# Allowances of a GPU: driver and libraries, and the gaps between tensors that an allocator holds. Together the least with which
# none of the 62 rows of `published.py` is planned more than 5 % too low; the median is 10 % too high then. One row decides: Qwen-14B's
# Q-LoRA at 256 tokens (18.7 GB, though 512 tokens took 18.4). A card's GB are counted as 10^9 bytes: on the safe side.
CONTEXT = 1_150_000_000
SLACK = 0.15
# On a CPU, oneDNN keeps the kernels it compiles for every length, and the C library the gaps that tensors leave. Measured: the
# demo's training (1.8 GB by the sum) held 4.2 GB at most (2026-11-24, 2-core AMD EPYC CPU, last row of its metrics.jsonl).
KEPT = 2.1
KEPT_FORWARD = 1.2  # where nothing is kept for a backward pass
FAR = 0.1  # share from which sum and simulation are called different


@dataclass(frozen=True)
class Step:
    """The fullest moment of a training step: bytes by component, whether "simulation" or "sum" says so, and both numbers."""

    parts: list[Part]
    basis: str
    sum: float
    simulated: float | None
    why: str  # no simulation, or why the two differ

    @property
    def bytes(self) -> float:
        return total(self.parts)

    def __str__(self) -> str:
        if self.simulated is None:
            return f"The sum is used. {self.why}"
        off = self.sum / self.simulated - 1
        if abs(off) <= FAR:
            return f"Sum and simulation differ by {off:+.1%}; the simulation is used."
        reason = self.why or "it counts what the library really keeps"
        return f"The sum is {off:+.0%} off: {reason}. The simulation is used, which runs the model's own code."


def step(config: RunConfig, shape: Shape, gpu: bool = True) -> Step:
    """The fullest moment of a step with these settings, without allowances."""
    by_hand = step_parts(config, shape, gpu=gpu)
    try:
        if not shape.numbers:
            raise NotImplementedError("There is no config.json to simulate.")
        from helpers.plan.simulation import simulate

        found = simulate(replace(config, **settings_that_work(config, shape)), shape.numbers, gpu=gpu)
    except NotImplementedError as reason:
        return Step(by_hand, "sum", total(by_hand), None, str(reason))
    parts = [Part(name, size, f"counted in the {found.phase}") for name, size in found.components.items()]
    return Step(parts, "simulation", total(by_hand), found.peak, shape.rough)


def settings_that_work(config: RunConfig, shape: Shape) -> dict:
    """The settings that peft demands for this model and `config` does not have; empty for most models."""
    found = shape.counted(config.lora_target_modules)
    if found and config.activation_checkpointing and not found.checkpoints:
        rest = settings_that_work(replace(config, activation_checkpointing=False), shape)
        return {"activation_checkpointing": False, **rest}
    if found and found.adapts_experts and config.lora_dropout:
        return {"lora_dropout": 0.0}
    if found and found.refused:
        names = sorted({m.name for m in found.maps if m.packed})
        for left_out in ({"out_proj"}, {"out_proj", "conv1d"}, {"out_proj", "o_proj"}):
            chosen = ",".join(name for name in names if name not in left_out)
            if chosen and not shape.counted(chosen).refused:
                return {"lora_target_modules": chosen}
    return {}


def obstacles(config: RunConfig, shape: Shape) -> list[str]:
    """What stands between this plan and a training, in sentences; empty when nothing does."""
    told, changed = [shape.doubt] if shape.doubt else [], settings_that_work(config, shape)
    found = shape.counted(config.lora_target_modules)
    if "activation_checkpointing" in changed:
        told.append(
            "The code of this architecture has no activation checkpointing: set activation_checkpointing = False."
        )
    if "lora_dropout" in changed:
        told.append(f"lora_dropout={config.lora_dropout:g}: peft takes none on experts. Set lora_dropout = 0.0.")
    if found and found.refused:
        way = f"Set {named(changed)}." if changed else "Name the modules in lora_target_modules."
        told.append(f"peft refuses lora_target_modules={config.lora_target_modules!r} here ({found.refused}). {way}")
    return told


def named(overrides: dict) -> str:
    """Settings as people write them: "max_length = 1024, lora_r = 8"."""
    return ", ".join(f"{name} = {value!r}" for name, value in overrides.items())


def allowances(parts: list[Part]) -> list[Part]:
    """What a GPU needs beside the `parts` of a step."""
    return [
        Part(
            "driver and libraries",
            CONTEXT,
            "an allowance, not computed: the CUDA context, and what the libraries take at their first call",
        ),
        Part("gaps", SLACK * total(parts), f"an allowance: {SLACK:.0%} lost between tensors, by the published tables"),
    ]


def with_allowances(size: float) -> float:
    """Bytes on a GPU for tensors of `size` bytes."""
    return size * (1 + SLACK) + CONTEXT


def needed(config: RunConfig, shape: Shape) -> float:
    """Bytes of GPU memory for training, allowances included."""
    return with_allowances(step(config, shape).bytes)


def needed_on_cpu(config: RunConfig, shape: Shape) -> float:
    """Bytes of this machine's memory for training without a GPU, every token labelled, with `KEPT` and the libraries."""
    return step(config, shape, gpu=False).bytes * KEPT + LIBRARIES


def needed_by_sum(config: RunConfig, shape: Shape, batch: int = 0, length: int = 0) -> float:
    """As `needed`, by the sum alone: for sliders, which must answer at once."""
    return with_allowances(total(step_parts(config, shape, batch, length)))


def bytes_of_each(config: RunConfig, shape: Shape, cards: int) -> float:
    """Bytes of a step on the fullest of `cards` GPUs that have the layers among them (`split_model`), without allowances.

    What belongs to a layer is divided; the layer at work, the loss and the mask are whole on the card where they are, and
    a card may have one layer more than its share, or the embeddings.
    """
    by_hand = step_parts(config, shape)
    whole = {"the layer at work", "unpacked weight", "loss", "attention mask", "optimizer step"}
    spread = total([part for part in by_hand if part.name not in whole])
    extra = max(spread / shape.layers, number_bytes(config) * shape.vocabulary * shape.hidden)
    fullest = spread / cards + extra + total(by_hand) - spread
    return step(config, shape).bytes * min(fullest / total(by_hand), 1.0)


class Device(NamedTuple):
    """What a training runs on: the memory of one card in bytes, whether it is a GPU, and how many of it the pod has."""

    name: str
    room: float
    gpu: bool = True
    cards: int = 1

    def need(self, config: RunConfig, shape: Shape) -> float:
        """Bytes that a training with these settings needs on each card here."""
        if self.cards > 1 and config.split_model:
            return with_allowances(bytes_of_each(config, shape, self.cards))
        return needed(config, shape) if self.gpu else needed_on_cpu(config, shape)


def evaluation(config: RunConfig, shape: Shape, device: Device) -> float:
    """Bytes of an evaluation while the training waits, without allowances: weights, adapter, optimizer, and one batch.

    Nothing is kept for a backward pass. Of several cards (`split_model`) the fullest has the batch's loss and mask whole.
    """
    share = device.cards if config.split_model else 1
    trained, _, state = adapter_parts(config, shape, device.gpu)
    rows, tokens = config.per_device_eval_batch_size, config.per_device_eval_batch_size * config.max_length
    widest = number_bytes(config, device.gpu) * tokens * (3 * shape.intermediate + 4 * shape.hidden)
    # with packing, TRL's collator lays the rows of an evaluation batch end to end as well
    batch = widest + loss_part(config, shape, tokens, device.gpu).bytes
    batch += total(mask_parts(config, rows, config.max_length))
    return (total(weight_parts(config, shape, device.gpu)) + trained.bytes + state.bytes) / share + batch


def evaluating(config: RunConfig, shape: Shape, device: Device) -> float:
    """As `evaluation`, with the allowances of `device`."""
    size = evaluation(config, shape, device)
    return with_allowances(size) if device.gpu else size * KEPT_FORWARD + LIBRARIES


def device(config: RunConfig) -> Device:
    """The card that config.gpu names, else the GPU that is here, else this machine's own memory; config.gpus of them.

    Raises ValueError for a card that is not in the list.
    """
    import torch

    from helpers.model.memory import memory_of_this_machine

    if config.gpu:
        return Device(config.gpu, gpu(config.gpu).gigabytes * 1e9, cards=config.gpus or 1)
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        return Device(torch.cuda.get_device_name(), memory, cards=config.gpus or torch.cuda.device_count())
    return Device("this machine", memory_of_this_machine(), gpu=False)
