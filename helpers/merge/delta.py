"""What a LoRA adapter changes in its base model, read from the adapter's own file: one weight at a time.

Hu et al., LoRA (2021): W' = W + (alpha / r) B A; rank-stabilised LoRA (Kalajdzievski, 2023): alpha / sqrt(r).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.files import read_json
from helpers.model.adapter import MATRICES, MERGED_FIELDS, other_fields, tensor_shapes
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
    """The adapter of `folder`: `pairs` by module name, `replaced` (whole tensors) by weight name, `weights` for both.

    Raises ValueError when the file holds something that is neither: see `not_understood`."""

    def __init__(self, folder: Path):
        from peft import PeftConfig

        self.config: Any = PeftConfig.from_pretrained(str(folder))
        names = tensor_shapes(folder)
        self.weights = WeightFiles(dict.fromkeys(names, folder / "adapter_model.safetensors"))
        self.pairs: dict[str, LoraPair] = {}
        self.replaced: dict[str, str] = {}
        for name in names:
            module, _dot, kind = name.removeprefix(PREFIX).replace(".base_layer.", ".").partition(".lora_")
            if not kind:
                self.replaced[module] = name
            elif kind in ("A.weight", "embedding_A"):
                self.pairs[module] = self._pair(module, name, kind)
            elif kind not in MATRICES:
                raise ValueError(_("the adapter's tensor {name} is of a kind not known here").format(name=name))

    def _pair(self, module: str, name: str, kind: str) -> LoraPair:
        from peft.utils.other import get_pattern_key

        rank, patterns = self.weights.shape(name)[0], self.config.alpha_pattern
        alpha = patterns.get(get_pattern_key(patterns.keys(), module), self.config.lora_alpha)
        scale = alpha / math.sqrt(rank) if self.config.use_rslora else alpha / rank
        other = name.replace("lora_A", "lora_B").replace("embedding_A", "embedding_B")
        return LoraPair(name, other, scale, embedding=kind == "embedding_A")

    def apply(self, key: str, weight: torch.Tensor) -> torch.Tensor:
        """Weight `key` of the base (any dtype) with the adapter in it; `weight` itself if untouched.

        The sum is made in float32 and rounded once, where peft rounds the delta and then the sum."""
        if key in self.replaced:
            weight = self.weights.read(self.replaced[key]).to(weight.device)
        pair = self.pairs.get(key.removesuffix(".weight"))
        if pair is None:
            return weight
        a, b = (self.weights.read(name).to(weight.device).float() for name in (pair.a, pair.b))
        return weight.float().add_((b @ a).T if pair.embedding else b @ a, alpha=pair.scale)

    def touches(self, key: str) -> bool:
        """True when the adapter changes this weight of the base."""
        return key in self.replaced or key.removesuffix(".weight") in self.pairs


def not_understood(folder: Path) -> str:
    """Why this adapter must be merged by peft itself, in words; "" when `AdapterDelta` can do it."""
    if fields := other_fields(read_json(folder / "adapter_config.json"), MERGED_FIELDS):
        return _("it was trained with {fields}").format(fields=", ".join(fields))
    try:
        AdapterDelta(folder)
    except ValueError as error:
        return str(error)
    return ""
