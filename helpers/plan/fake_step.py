"""One optimizer step on tensors without numbers: forward, TRL's or `LeanTrainer`'s loss, backward, optimizer."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import torch
import trl.trainer.utils as trl
from peft import PeftModel
from torch._subclasses.fake_tensor import unset_fake_temporarily
from transformers import Trainer, TrainingArguments
from transformers.models.mixtral import modeling_mixtral as mixtral

from helpers.model.device import compute_dtype
from helpers.model.meta import layer_kinds
from helpers.plan.memory import TILE_TOKENS, TILE_WORDS, mask_parts, row_length
from helpers.plan.tracker import StorageTracker
from helpers.settings import RunConfig
from helpers.show.words import N_
from helpers.train.loss import SumOfLosses

FORWARD, LAST, REST = N_("forward pass"), N_("backward pass of the last layer"), N_("backward pass of the other layers")


class Batch(NamedTuple):
    """What a step works on: rows of `length` tokens (packed ones are a single row), on a GPU or a CPU."""

    rows: int
    length: int
    gpu: bool
    unpacked: bool = False  # 4-bit weights are unpacked once and kept so

    @classmethod
    def of(cls, config: RunConfig, gpu: bool, unpacked: bool = False) -> Batch:
        """The batch that these settings make."""
        rows = 1 if config.packing else config.per_device_train_batch_size
        return cls(rows, row_length(config), gpu, unpacked)


def take_step(model: PeftModel, config: RunConfig, batch: Batch, tracker: StorageTracker) -> None:
    """The optimizer's state, as a step before made it, and then the step that counts: its peaks are in `tracker`."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    tracker.phase = "optimizer state"
    optimizer = make_optimizer(config, trained, batch.gpu)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
        tracker.track(parameter.grad, "gradients")
    optimizer.step()
    if config.gradient_accumulation_steps == 1:  # else those of the rows before are still there
        optimizer.zero_grad()
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(lambda p: tracker.track(p.grad, "gradients"))
    tracker.highest, tracker.peaks = {}, {}  # what lives now lives on
    forward_backward(model, config, batch, tracker)
    tracker.phase = "optimizer step"
    torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()


def forward_backward(model: PeftModel, config: RunConfig, batch: Batch, tracker: StorageTracker) -> None:
    """Forward and backward on one batch; padded unless it is a single row, packed when the config packs."""
    tracker.phase = FORWARD
    dtype = compute_dtype(config)
    # `LeanTrainer` leaves the loss to TRL on a GPU, and where the use of the experts is a part of it
    balances = getattr(model.config.get_text_config(), "output_router_logits", False)
    loss_of = tiled_loss if batch.gpu or balances else lean_loss
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32), last_layer_marked(model, tracker):
        inputs = make_inputs(model, config, batch)  # they live as long as the step, as in a trainer
        loss = loss_of(model, inputs)
    tracker.phase = LAST
    loss.backward()


def last_layer_marked(model: PeftModel, tracker: StorageTracker) -> contextlib.AbstractContextManager:
    """Once the gradient of the last layer's input is there, the backward pass is at the other layers."""

    def hook(module, args, kwargs):
        hidden = args[0] if args else kwargs["hidden_states"]
        if hidden.requires_grad:
            hidden.register_hook(lambda gradient: setattr(tracker, "phase", REST))

    base: Any = model.get_base_model()
    path, _kinds = layer_kinds(base)
    last = base.get_submodule(path)[-1] if path else None
    return last.register_forward_pre_hook(hook, with_kwargs=True) if last else contextlib.nullcontext()


def make_inputs(model: PeftModel, config: RunConfig, batch: Batch) -> dict[str, torch.Tensor]:
    """Token ids, and the mask of `memory.mask_parts`: of rows x length x length where the model attends."""
    inputs = {"input_ids": torch.ones(batch.rows, batch.length, dtype=torch.long)}
    if mask_parts(config, config.per_device_train_batch_size, batch.gpu):
        attends = any("attn" in name or "attention" in name for name, _ in model.named_modules())
        shape = (batch.rows, 1, batch.length, batch.length) if attends else (batch.rows, batch.length)
        added = config.attn_implementation == "eager" and attends
        inputs["attention_mask"] = torch.ones(shape, dtype=compute_dtype(config) if added else torch.bool)
    return inputs


def tiled_loss(model: PeftModel, inputs: dict) -> torch.Tensor:
    """The loss of `SFTTrainer`: TRL's head in tiles, here on every position; with experts, how evenly they are used."""
    balance, padding = mixtral.load_balancing_loss_func, torch.ones_like(inputs["input_ids"])

    def balanced(logits, experts, used, mask=None):  # the mask of the rows, not attention's
        return balance(logits, experts, used, None if mask is None else padding)

    with mock.patch.object(mixtral, "load_balancing_loss_func", balanced):
        return model(**inputs, labels=inputs["input_ids"], fused_lm_head=True).loss


def lean_loss(model: PeftModel, inputs: dict) -> torch.Tensor:
    """The loss of `LeanTrainer` on a CPU: the logits of all labelled positions at once, here of every position."""
    count, head = inputs["input_ids"].numel(), model.get_output_embeddings()
    with head.register_forward_pre_hook(lambda module, args: (args[0].flatten(0, 1).clone(),)):
        logits = model(**inputs, use_cache=False).logits
    return SumOfLosses.apply(logits, torch.ones(count, dtype=torch.long)) / count


class LossOfTritonKernels(torch.autograd.Function):
    """The memory of TRL's loss on a GPU, whose kernels need Triton: a tile of logits at a time, overwritten in place,
    and the gradient of the last layer in float32. It takes and gives what TRL's ChunkedLogProbFunction does."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, *settings):
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden.dtype
        ctx.hidden, ctx.tile = hidden, partial(torch.empty, min(len(hidden), TILE_TOKENS), TILE_WORDS, dtype=kind)
        ctx.tile()
        scores = torch.zeros(len(hidden))
        return scores, scores.clone(), None, None, scores > 0

    @staticmethod
    def backward(ctx, *of_outputs):
        gradient = torch.zeros_like(ctx.hidden, dtype=torch.float32)
        ctx.tile()
        return gradient.to(ctx.hidden.dtype), *[None] * 8


@contextlib.contextmanager
def kernels(gpu: bool):
    """Let peft see that autocast is on: it asks for CUDA's, and else copies inputs to float32, which `train.branch`
    spares a CPU. On a GPU, dropout is fused and TRL's loss runs in Triton."""

    def dropout(input, p=0.5, training=True, inplace=False):
        return torch.native_dropout(input, p, training)[0] if training and p else input

    autocast = torch.is_autocast_enabled  # asked without a device, it answers for CUDA
    patches = [(torch, "is_autocast_enabled", lambda device="cpu": autocast(device))]
    if gpu:
        patches += [(torch.nn.functional, "dropout", dropout), (trl, "_ChunkedLogProbFunction", LossOfTritonKernels)]
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(mock.patch.object(*patch))
        yield


def make_optimizer(config: RunConfig, parameters: list, gpu: bool) -> torch.optim.Optimizer:
    """The optimizer that `Trainer` would make for config.optim; paged ones unpaged, since their size is the same."""
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(output_dir=folder, optim=config.optim, use_cpu=True)
        kind, keywords = Trainer.get_optimizer_cls_and_kwargs(args)
    if kind is torch.optim.AdamW:
        keywords = {**keywords, "foreach": gpu, "fused": False}
    keywords.pop("is_paged", None)
    with unset_fake_temporarily():  # the code tables of an 8-bit optimizer need real numbers
        return kind(parameters, **keywords)


@contextlib.contextmanager
def quiet():
    """Libraries warn about a training without numbers; here that is meant. What they log as errors is raised too."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
