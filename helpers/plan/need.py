"""What a training needs on its device: the simulated step, where there is one, else the sum; with allowances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from helpers.model.memory import memory_of_this_machine
from helpers.plan import memory, parts
from helpers.plan.cards import gpu
from helpers.plan.obstacles import settings_that_work
from helpers.plan.parts import Part, number_bytes, total
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.words import N_, _

# Python with torch, transformers, peft and trl before a model is loaded: 0.4 GB of its own, and pages of libraries
LIBRARIES = 500_000_000
# Allowances of a GPU: driver and libraries, and the gaps between tensors. Together the least with which none of the 62
# rows of `published.json` is planned more than 5 % too low; the median is 10 % too high then. One row decides:
# Qwen-14B's Q-LoRA at 256 tokens (18.7 GB, though 512 tokens took 18.4).
CONTEXT = 1_150_000_000
SLACK = 0.15
# On a CPU, oneDNN keeps the kernels it compiles for every length, and the C library the gaps that tensors leave. The
# demo's training (1.77 GB by the sum) held 2.68 GB (docs/gallery, 2026-11-29, 2-core AMD EPYC): 1.23, and more for
# other lengths.
KEPT = 1.4
KEPT_FORWARD = 1.2  # where nothing is kept for a backward pass
FAR = 0.1  # share from which sum and simulation are called different


@dataclass(frozen=True)
class Step:
    """The fullest point of a step: bytes by component, whether "simulation" or "sum" says so, and both numbers."""

    parts: list[Part]
    basis: str
    sum: float
    simulated: float | None = None
    why: str = ""  # there is no simulation

    @property
    def bytes(self) -> float:
        return total(self.parts)

    def __str__(self) -> str:
        if self.simulated is None:
            return _("The sum is used. {why}").format(why=self.why)
        off = self.sum / self.simulated - 1
        if abs(off) <= FAR:
            return _("Sum and simulation differ by {off}; the simulation is used.").format(off=f"{off:+.1%}")
        far = _(
            "The sum is {off} off: not every layer is plain attention and feed-forward. The simulation is used, which "
            "runs the model's own code."
        )
        return far.format(off=f"{off:+.0%}")


def step(config: RunConfig, shape: Shape, gpu: bool = True) -> Step:
    """The fullest point of a step with these settings, without allowances."""
    by_hand = memory.step_parts(config, shape, gpu)
    if not shape.numbers or shape.doubt:
        return Step(by_hand, "sum", total(by_hand), why=shape.doubt or _("There is no config.json to simulate."))
    from helpers.plan.simulation import simulate

    try:
        fullest = simulate(replace(config, **settings_that_work(config, shape)), shape.numbers, gpu=gpu)
    except NotImplementedError as reason:
        return Step(by_hand, "sum", total(by_hand), why=str(reason))
    why = _("counted in the {phase}").format(phase=_(fullest.phase))
    parts = [Part(name, size, why) for name, size in fullest.components.items()]
    return Step(parts, "simulation", total(by_hand), fullest.peak)


def allowances(parts: list[Part]) -> list[Part]:
    """What a GPU needs beside the `parts` of a step."""
    driver = _("an allowance, not computed: the CUDA context, and what the libraries take at their first call")
    gaps = _("an allowance: {share} lost between tensors, by the published tables").format(share=f"{SLACK:.0%}")
    return [Part(N_("driver and libraries"), CONTEXT, driver), Part(N_("gaps"), SLACK * total(parts), gaps)]


def with_allowances(size: float) -> float:
    """Bytes on a GPU for tensors of `size` bytes."""
    return size * (1 + SLACK) + CONTEXT


def needed(config: RunConfig, shape: Shape) -> float:
    """Bytes of GPU memory for training, allowances included."""
    return with_allowances(step(config, shape).bytes)


def needed_by_sum(config: RunConfig, shape: Shape) -> float:
    """As `needed`, by the sum alone: for sliders, which must answer at once."""
    return with_allowances(total(memory.step_parts(config, shape)))


def bytes_of_each(config: RunConfig, shape: Shape, cards: int) -> float:
    """Bytes of a step, no allowances, on the fullest of `cards` GPUs that have the layers among them (`split_model`).

    What belongs to a layer is divided; the layer at work, the loss and the mask are whole on the card where they are,
    and a card may have one layer more than its share, or the embeddings.
    """
    by_hand = memory.step_parts(config, shape)
    whole = {"the layer at work", "unpacked weight", "loss", "attention mask", "optimizer step"}
    spread = total(part for part in by_hand if part.name not in whole)
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
        """Bytes that a training with these settings needs on each card here; on a CPU with `KEPT` and the libraries."""
        if not self.gpu:
            return step(config, shape, gpu=False).bytes * KEPT + LIBRARIES
        if self.sharing(config) > 1:
            return with_allowances(bytes_of_each(config, shape, self.cards))
        return needed(config, shape)

    def sharing(self, config: RunConfig) -> int:
        """How many of the cards have the layers among them."""
        return self.cards if config.split_model else 1

    def forward_need(self, size: float) -> float:
        """Bytes that tensors of `size` bytes need here, where nothing is kept for a backward pass."""
        return with_allowances(size) if self.gpu else size * KEPT_FORWARD + LIBRARIES


def evaluation(config: RunConfig, shape: Shape, device: Device) -> float:
    """Bytes of an evaluation while the training waits, without allowances: weights, adapter, optimizer, and one batch.

    Nothing is kept for a backward pass. Of several cards (`split_model`) one has the batch's loss and mask whole.
    """
    trained, _gradients, state = parts.adapter_parts(config, shape)
    rows, gpu = config.per_device_eval_batch_size, device.gpu
    tokens = rows * config.max_length
    batch = tokens * (memory.widest(config, shape, gpu) + 4 * number_bytes(config, gpu) * shape.hidden)
    # with packing, TRL's collator lays the rows of an evaluation batch end to end as well
    batch += total([memory.loss_part(config, shape, tokens, gpu), *memory.mask_parts(config, rows, gpu)])
    return total([*parts.weight_parts(config, shape, gpu), trained, state]) / device.sharing(config) + batch


def device(config: RunConfig) -> Device:
    """The card that config.gpu names, else the GPU that is here, else this machine's memory; config.gpus of them."""
    import torch

    if config.gpu:
        return Device(config.gpu, gpu(config.gpu).gigabytes * 1e9, cards=config.gpus or 1)
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        return Device(torch.cuda.get_device_name(), memory, cards=config.gpus or torch.cuda.device_count())
    return Device(_("this machine"), memory_of_this_machine(), gpu=False)
