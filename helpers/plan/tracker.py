"""The life of every piece of memory in a training step, on fake or on real tensors."""

from __future__ import annotations

import weakref

import torch
from bitsandbytes.backends.default.ops import _gemm_4bit_default_impl
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers.plan.memory import TILE_WORDS


class StorageTracker(TorchDispatchMode):
    """Counts the bytes of every storage from its first use to its death, by component, and the peak of each phase.

    torch's own MemTracker gives the same totals, but one peak for all phases, and slowly: proofs/bench_mem_tracker.py.
    """

    def __init__(self, vocabulary: int = 0):
        super().__init__()
        self.living: dict[int, tuple[int, str]] = {}  # storage -> bytes, component
        self.now: dict[str, int] = {}
        self.peaks: dict[str, dict[str, int]] = {}  # phase -> components at its fullest point
        self.highest: dict[str, int] = {}
        self.phase, self.total, self.vocabulary = "base weights", 0, vocabulary

    @property
    def peak(self) -> int:
        """Bytes at the fullest point of all phases."""
        return max(self.highest.values(), default=0)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.bitsandbytes.gemm_4bit.default:
            with self:  # its parts one by one, or the dequantised weight inside would stay unseen
                return _gemm_4bit_default_impl(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.track(leaf, self._component(func, leaf))
        return result

    def track(self, tensor: torch.Tensor, component: str) -> None:
        """Count the storage of `tensor` under `component`. A result of the backward pass can become a gradient."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.living:
            weakref.finalize(storage, self._forget, key)
        elif component == "gradients":
            self._forget(key)
        else:
            return
        self.living[key] = (storage.nbytes(), component)
        self.now[component] = self.now.get(component, 0) + storage.nbytes()
        self.total += storage.nbytes()
        if self.total > self.highest.get(self.phase, 0):
            self.highest[self.phase], self.peaks[self.phase] = self.total, dict(self.now)

    def _forget(self, key: int) -> None:
        size, component = self.living.pop(key, (0, "activations"))
        self.now[component] = self.now.get(component, 0) - size
        self.total -= size

    def _component(self, func, tensor: torch.Tensor) -> str:
        if not self.phase.startswith(("forward", "backward")):
            return self.phase
        if func.namespace == "bitsandbytes":
            return "dequantised weight" if "dequantize" in func._schema.name else "activations"
        wide = {self.vocabulary, TILE_WORDS, self.vocabulary % TILE_WORDS} - {0}
        return "logits" if wide & set(tensor.shape[-2:]) and tensor.numel() > 1e5 else "activations"
