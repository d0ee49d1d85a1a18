"""What a LoRA adapter changes in its base model, read from the adapter's own file: one weight at a time.

Hu et al., LoRA (2021): W' = W + (alpha / r) B A; rank-stabilised LoRA (Kalajdzievski, 2023): alpha / sqrt(r).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.files import read_json
from helpers.model.adapter import MERGED_FIELDS, other_fields
from helpers.model.weights import WeightFiles
from helpers.show.words import _

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."


@dataclass(frozen=True)
class LoraPair:
    """The two low-rank matrices of one module and their scale."""

    a: str  # tensor names in the adapter file
    b: str
    scale: float
    embedding: bool


class AdapterDelta:
    """The adapter of `folder`: `pairs` by module name, `replaced` (whole tensors) by weight name, `weights` to read both.

    Raises ValueError when the file holds something that is neither: see `not_understood`.
    """

    def __init__(self, folder: Path):
        from peft import PeftConfig
        from safetensors import safe_open

        self.config = PeftConfig.from_pretrained(str(folder))
        path = folder / "adapter_model.safetensors"
        with safe_open(str(path), framework="pt") as file:
            names = list(file.keys())
        self.weights = WeightFiles(dict.fromkeys(names, path))
        self.pairs: dict[str, LoraPair] = {}
        self.replaced: dict[str, str] = {}
        for name in names:
            plain = name.removeprefix(PREFIX).replace(".base_layer.", ".")
            module, _dot, kind = plain.partition(".lora_")
            if kind in ("A.weight", "embedding_A"):
                self.pairs[module] = self._pair(module, name, kind)
            elif kind and kind not in ("B.weight", "embedding_B"):
                raise ValueError(_("the adapter's tensor {name} is of a kind not known here").format(name=name))
            elif not kind:
                self.replaced[plain] = name

    def _pair(self, module: str, name: str, kind: str) -> LoraPair:
        from peft.utils.other import get_pattern_key

        config = self.config
        rank = self.weights.shape(name)[0]
        alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern.keys(), module), config.lora_alpha)
        scale = alpha / math.sqrt(rank) if config.use_rslora else alpha / rank
        other = name.replace("lora_A", "lora_B").replace("embedding_A", "embedding_B")
        return LoraPair(name, other, scale, embedding=kind == "embedding_A")

    def shape(self, pair: LoraPair) -> tuple[int, ...]:
        """Of the weight that a pair changes."""
        (_rank, *inner), outer = self.weights.shape(pair.a), self.weights.shape(pair.b)[0]
        return (*inner, outer) if pair.embedding else (outer, *inner)

    def apply(self, key: str, weight: torch.Tensor) -> torch.Tensor:
        """Weight `key` of the base model (any dtype) with the adapter in it, in float32; `weight` itself if untouched.

        The sum is made in float32 and rounded once, where peft rounds the delta and then the sum.
        """
        if key in self.replaced:
            weight = self.weights.read(self.replaced[key]).to(weight.device)
        pair = self.pairs.get(key.removesuffix(".weight"))
        if pair is None or not key.endswith(".weight"):
            return weight
        a = self.weights.read(pair.a).to(weight.device).float()
        b = self.weights.read(pair.b).to(weight.device).float()
        delta = (b @ a).T if pair.embedding else b @ a
        return weight.float().add_(delta, alpha=pair.scale)

    def finite(self, key: str) -> bool:
        """False when what the adapter holds for weight `key` is not finite."""
        pair = self.pairs.get(key.removesuffix(".weight"))
        names = [self.replaced[key]] if key in self.replaced else []
        names += [pair.a, pair.b] if pair else []
        scale = pair.scale if pair else 1.0
        return math.isfinite(scale) and all(self.weights.read(name).isfinite().all() for name in names)

    def touches(self, module: str) -> bool:
        return module in self.pairs or any(key.rpartition(".")[0] == module for key in self.replaced)


def not_understood(folder: Path) -> str:
    """Why this adapter must be merged by peft itself, in words; "" when `AdapterDelta` can do it."""
    if fields := other_fields(read_json(folder / "adapter_config.json"), MERGED_FIELDS):
        return _("it was trained with {fields}").format(fields=", ".join(fields))
    try:
        AdapterDelta(folder)
    except ValueError as error:
        return str(error)
    return ""
