"""The life of every piece of memory in a training step, on fake or on real tensors."""

from __future__ import annotations

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class StorageLife(TorchDispatchMode):
    """Counts the bytes of every storage from its first use to its death, by component, and keeps the peak of each phase."""

    def __init__(self, vocabulary: int = 0):
        super().__init__()
        self.living: dict[int, tuple[int, str]] = {}  # storage -> bytes, component
        self.now: dict[str, int] = {}
        self.total = 0
        self.peaks: dict[str, dict[str, int]] = {}  # phase -> components at its fullest moment
        self.highest: dict[str, int] = {}
        self.phase, self.vocabulary = "base weights", vocabulary

    @property
    def peak(self) -> int:
        """Bytes at the fullest moment of all phases."""
        return max(self.highest.values(), default=0)

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
        if self.total > self.highest.get(self.phase, 0):
            self.highest[self.phase], self.peaks[self.phase] = self.total, dict(self.now)

    def start_again(self) -> None:
        """Forget the peaks so far; what lives now lives on."""
        self.highest, self.peaks = {}, {}

    def _forget(self, key: int) -> None:
        size, component = self.living.pop(key, (0, "activations"))
        self.now[component] = self.now.get(component, 0) - size
        self.total -= size

    def _component(self, func, tensor: torch.Tensor) -> str:
        if not self.phase.startswith(("forward", "backward")):
            return self.phase
        if func.namespace == "bitsandbytes":
            return "dequantised weight" if "dequantize" in func._schema.name else "activations"
        # TRL's loss works in tiles of 32,768 words of the vocabulary
        wide = {self.vocabulary, 32768, self.vocabulary % 32768} - {0}
        return "logits" if wide & set(tensor.shape[-2:]) and tensor.numel() > 1e5 else "activations"
