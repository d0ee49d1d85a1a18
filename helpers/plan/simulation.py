"""One real training step, run without its memory: transformers, peft, bitsandbytes, TRL's loss, backward, optimizer.

Under torch's FakeTensorMode every tensor has a shape and a dtype but no numbers. `StorageLife` follows the life of every
storage, so the peak is counted, not guessed: a 7B model takes about 15 seconds and 1 GB on a laptop.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
import weakref
from dataclasses import dataclass, replace
from types import SimpleNamespace
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers.config import RunConfig

MOST_TOKENS = 2**20  # in one step: beyond, the loss in tiles takes minutes and no card is large enough


@dataclass(frozen=True)
class Simulated:
    """The fullest moment of the step: bytes by component, and in which phase it was."""

    components: dict[str, int]
    phase: str
    seconds: float

    @property
    def peak(self) -> int:
        return sum(self.components.values())


class StorageLife(TorchDispatchMode):
    """Counts the bytes of every storage from its first use to its death, by component; works on fake and on real tensors."""

    def __init__(self, vocabulary: int = 0):
        super().__init__()
        self.living: dict[int, tuple[int, str]] = {}  # storage -> bytes, component
        self.now: dict[str, int] = {}
        self.total = self.peak = 0
        self.at_peak: tuple[dict[str, int], str] = ({}, "")
        self.phase, self.vocabulary = "base weights", vocabulary

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.bitsandbytes.gemm_4bit.default:
            # its parts one by one, or the dequantised weight inside would stay unseen
            from bitsandbytes.backends.default.ops import _gemm_4bit_default_impl

            with self:
                return _gemm_4bit_default_impl(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.see(leaf, self._component(func, leaf))
        return result

    def see(self, tensor: torch.Tensor, component: str) -> None:
        """Count the storage of `tensor` under `component`."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.living:
            weakref.finalize(storage, self._forget, key)
        elif component != "gradients" or self.living[key][1] == component:
            return
        else:  # a result of the backward pass has become a gradient that stays
            self._forget(key)
        self.living[key] = (storage.nbytes(), component)
        self.now[component] = self.now.get(component, 0) + storage.nbytes()
        self.total += storage.nbytes()
        if self.total > self.peak:
            self.peak, self.at_peak = self.total, (dict(self.now), self.phase)

    def start_again(self) -> None:
        """Forget the peak so far; what lives now lives on."""
        self.peak, self.at_peak = self.total, (dict(self.now), self.phase)

    def _forget(self, key: int) -> None:
        size, component = self.living.pop(key, (0, "activations"))
        self.now[component] = self.now.get(component, 0) - size
        self.total -= size

    def _component(self, func, tensor: torch.Tensor) -> str:
        if self.phase not in ("forward", "backward"):
            return self.phase
        if func.namespace == "bitsandbytes":
            return "dequantised weight" if "dequantize" in func._schema.name else "activations"
        # TRL's loss works in tiles of 32,768 words of the vocabulary
        wide = {self.vocabulary, 32768, self.vocabulary % 32768} - {0}
        return "logits" if wide & set(tensor.shape[-2:]) and tensor.numel() > 1e5 else "activations"


def simulate(
    config: RunConfig, model_config: dict, batch: int = 0, length: int = 0, gpu: bool = True, labelled: float = 1.0
) -> Simulated:
    """The peak of one optimizer step on `batch` rows of `length` tokens (0: the config's).

    `gpu` True follows what a GPU runs (fused dropout, TRL's Triton loss), False what a CPU runs (`LeanTrainer`'s loss,
    whose logits grow with the share of `labelled` tokens).
    Raises NotImplementedError, with the reason, for an architecture that cannot be run this way, or absurdly many tokens.
    """
    start = time.perf_counter()
    if gpu and config.compute_dtype == "auto":  # what a GPU computes in, whatever this machine does
        config = replace(config, compute_dtype="bfloat16")
    batch, length = batch or config.per_device_train_batch_size, length or config.max_length
    if batch * length > MOST_TOKENS:
        raise NotImplementedError(f"{batch:,} rows of {length:,} tokens are too many to simulate.")
    rows, columns = (1, batch * length) if config.packing else (batch, length)
    life = StorageLife(_text_config(model_config)["vocab_size"])
    try:
        with quiet(), gpu_kernels() if gpu else contextlib.nullcontext():
            _prime_caches()
            model = skeleton(config, model_config)
            with FakeTensorMode(allow_non_fake_inputs=True), life:
                fill(model, config, life)
                take_steps(model, config, rows, columns, life, gpu, labelled)
    except (  # whatever a model's own code may raise over tensors without numbers
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        kind = model_config.get("model_type", "?")
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise NotImplementedError(f"The architecture {kind!r} cannot be simulated ({reason}).") from error
    components, phase = life.at_peak
    return Simulated({k: v for k, v in components.items() if v}, phase, time.perf_counter() - start)


def take_steps(
    model, config: RunConfig, rows: int, columns: int, life: StorageLife, gpu: bool, labelled: float
) -> None:
    """A small step that makes the optimizer's state, then the step that counts; the peak of the second is in `life`."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(lambda p: life.see(p.grad, "gradients"))
    life.phase = "optimizer state"
    optimizer = make_optimizer(config, trained, gpu)
    forward_backward(model, config, 1, 8, life, gpu, labelled)
    life.phase = "optimizer state"
    optimizer.step()
    optimizer.zero_grad()
    if config.gradient_accumulation_steps > 1:  # the gradients of the rows before are still there
        forward_backward(model, config, 1, 8, life, gpu, labelled)
    life.start_again()
    forward_backward(model, config, rows, columns, life, gpu, labelled)
    life.phase = "optimizer step"
    torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()


def forward_backward(model, config, rows: int, columns: int, life: StorageLife, gpu: bool, labelled: float) -> None:
    """Forward and backward on one batch; padded unless it is a single row, packed when the config packs."""
    from helpers.model.quantization import compute_dtype

    life.phase = "forward"
    ids = torch.ones(rows, columns, dtype=torch.long)
    inputs = {"input_ids": ids}
    if config.packing or rows > 1:  # packed rows and padded rows need a mask of rows x columns x columns
        inputs["attention_mask"] = torch.ones(rows, 1, columns, columns, dtype=torch.bool)
    dtype = compute_dtype(config)
    with torch.autocast("cpu", dtype=dtype) if dtype != torch.float32 else contextlib.nullcontext():
        loss = tiled_loss(model, inputs) if gpu else lean_loss(model, inputs, labelled)
    life.phase = "backward"
    loss.backward()


def tiled_loss(model, inputs: dict) -> torch.Tensor:
    """The loss of `SFTTrainer`: TRL's head works in tiles, here on every position."""
    output = model(**inputs, labels=inputs["input_ids"], fused_lm_head=True)
    return -output.log_probs.sum() / inputs["input_ids"].numel()


def lean_loss(model, inputs: dict, labelled: float) -> torch.Tensor:
    """The loss of `LeanTrainer` on a CPU: the head works on the labelled positions only, all of them at once."""
    from helpers.train.trainer import SumOfLosses

    count = max(int(inputs["input_ids"].numel() * labelled), 1)
    head = model.get_output_embeddings()
    with head.register_forward_pre_hook(lambda module, args: (args[0].flatten(0, 1)[:count].clone(),)):
        logits = model(**inputs, use_cache=False).logits
    targets = torch.ones(count, dtype=torch.long)
    return SumOfLosses.apply(logits, targets) / count


def skeleton(config: RunConfig, model_config: dict):
    """The model as the training has it (4-bit layers, LoRA, checkpointing, TRL's loss head), all on "meta": no numbers."""
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert
    from trl.trainer.utils import add_fused_lm_head

    from helpers.model.lora import lora_config
    from helpers.model.quantization import compute_dtype, keep_gradients, quantization_config

    kind = {key: value for key, value in model_config.items() if key not in ("model_type", "quantization_config")}
    # None: sdpa, or eager for a model without it; FlashAttention needs as much as sdpa
    attention = "eager" if config.attn_implementation == "eager" else None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(model_config["model_type"], **kind),
            dtype=compute_dtype(config),
            attn_implementation=attention,
        )
    model.tie_weights()
    if config.load_in_4bit:
        replace_with_bnb_linear(model, get_keys_to_not_convert(model), quantization_config(config))
        model.is_loaded_in_4bit = True
        keep_gradients(model)
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model = get_peft_model(model, lora_config(config), low_cpu_mem_usage=True)
    if config.activation_checkpointing:
        model.enable_input_require_grads()
    # what SFTTrainer does: the loss in tiles, never all logits at once
    add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy", "is_top1"))
    return model.train()


def fill(model, config: RunConfig, life: StorageLife) -> None:
    """Give every tensor of the skeleton a storage (a fake one under FakeTensorMode): 4-bit, 16-bit, adapter; tied ones share."""
    made = {}
    for name, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for key, old in tensors.items():
                if old is None or old.device.type != "meta":
                    continue
                if id(old) not in made:
                    made[id(old)] = _filled(module, f"{name}.{key}", old, config, life)
                tensors[key] = made[id(old)]


def _filled(module, name: str, old: torch.Tensor, config: RunConfig, life: StorageLife) -> torch.Tensor:
    import bitsandbytes as bnb

    from helpers.model.quantization import compute_dtype

    if isinstance(module, bnb.nn.Linear4bit) and name.endswith("weight"):
        life.phase = "4-bit weights"
        full = torch.empty(module.out_features, module.in_features, dtype=module.compute_dtype)
        packed, state = bnb.functional.quantize_4bit(
            full, compress_statistics=config.double_quant, quant_type=config.quant_type
        )
        # a Params4bit cannot hold a fake tensor: an ordinary parameter with its attributes can
        weight = torch.nn.Parameter(packed, requires_grad=False)
        weight.quant_state = module.quant_state = state
        return weight
    adapter = "lora_" in name
    life.phase = "adapter" if adapter else "16-bit weights"
    dtype = old.dtype
    if adapter:  # bfloat16 in a 4-bit model that computes in it, else float32 (see `LeanTrainer`)
        short = config.load_in_4bit and compute_dtype(config) == torch.bfloat16
        dtype = torch.bfloat16 if short else torch.float32
    new = torch.empty(old.shape, dtype=dtype)
    return torch.nn.Parameter(new, requires_grad=adapter) if isinstance(old, torch.nn.Parameter) else new


def make_optimizer(config: RunConfig, parameters: list, gpu: bool):
    """The optimizer that `Trainer` would make for config.optim; paged ones unpaged, since their size is the same."""
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(output_dir=folder, optim=config.optim, use_cpu=True)
        kind, keywords = Trainer.get_optimizer_cls_and_kwargs(args)
    if kind is torch.optim.AdamW:
        keywords = {**keywords, "foreach": gpu, "fused": False}
    keywords.pop("is_paged", None)
    with unset_fake_temporarily():  # the code tables of an 8-bit optimizer need real numbers
        return kind(parameters, **keywords)


@contextlib.contextmanager
def gpu_kernels():
    """Let the step use as much memory as on a GPU: fused dropout, and TRL's Triton kernels, which work in place."""
    import trl.kernels.chunked_logprob as loss
    import trl.trainer.utils  # noqa: F401  takes its own copy of the names below before they change

    def dropout(input, p=0.5, training=True, inplace=False):
        return torch.native_dropout(input, p, training)[0] if training and p else input

    class InPlace:
        def __getitem__(self, grid):
            return lambda *args, **kwargs: None

    with (
        mock.patch.object(torch.nn.functional, "dropout", dropout),
        mock.patch.object(loss, "_use_triton", lambda device: True),
        mock.patch.object(loss, "_forward_kernel", InPlace()),
        mock.patch.object(loss, "_backward_kernel", InPlace()),
        mock.patch.object(loss, "_addmm_fp32", lambda total, a, b: None),
        mock.patch.object(loss, "triton", SimpleNamespace(cdiv=lambda a, b: -(-a // b)), create=True),
    ):
        yield


@contextlib.contextmanager
def quiet():
    """Libraries warn about a training without numbers; here that is meant."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)  # an error is raised as well
        try:
            yield
        finally:
            logging.disable(before)


def _prime_caches() -> None:
    """bitsandbytes keeps its code tables for ever: make them of real numbers before any fake tensor is about."""
    import bitsandbytes as bnb

    bnb.functional.quantize_4bit(torch.zeros(64, 64), compress_statistics=True, quant_type="nf4")


def _text_config(model_config: dict) -> dict:
    return model_config.get("text_config") or model_config
