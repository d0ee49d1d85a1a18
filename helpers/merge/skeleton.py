"""The base model without its weights: which modules it has, which of them 4-bit loading quantises, which are tied."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.model.device import weight_dtype
from helpers.model.meta import on_meta, untied
from helpers.model.quantise import quantization_config, refuse_quantised
from helpers.model.source import ModelSource
from helpers.model.weights import WeightFiles, weight_files
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

    from helpers.merge.delta import AdapterDelta


@dataclass(frozen=True)
class Skeleton:
    config: PreTrainedConfig  # of the 16-bit model
    own_code: bool  # it runs Python code of its repository
    transposed: bool  # it has Conv1D layers
    files: dict[str, Path]  # weight name -> file
    names: list[str]  # the model's own weight names; of a tied pair the input's only
    quantised: frozenset[str]  # names of the modules that are 4-bit once loaded
    tied: dict[str, str]  # output embedding's weight name -> input's, when they are one and the same
    dtype: torch.dtype  # of the merged weights
    other: dict[str, torch.dtype]  # those that transformers keeps in another one: a router's bias, whole numbers

    def not_understood(self) -> str:
        """Why the weights of this model cannot be merged one by one, in words; "" when they can."""
        if self.own_code:
            return _("the model brings its own Python code")
        if self.transposed:
            return _("the model has Conv1D layers, which keep their weights transposed")
        for name in self.names:
            if name not in self.files:
                return _("the model's weight {name} has another name in its file").format(name=name)
        return ""

    def sources(self, delta: AdapterDelta) -> dict[str, str]:
        """Name in the merged model -> name in the base. A tied pair is written once, unless the adapter changes one."""
        sources = {name: name for name in self.names}
        for output, source in self.tied.items():
            if delta.touches(output) or delta.touches(source):
                sources[output] = source
        return sources

    def sizes(self, sources: dict[str, str]) -> dict[str, int]:
        """Bytes of each merged weight."""
        base = WeightFiles(self.files)
        return {name: math.prod(base.shape(source)) * self.kind(name).itemsize for name, source in sources.items()}

    def kind(self, name: str) -> torch.dtype:
        """The number format of a merged weight."""
        return self.other.get(name, self.dtype)

    def save_config(self, folder: Path, untied: bool) -> None:
        config = copy.deepcopy(self.config)
        config.dtype = self.dtype
        if untied:
            config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
        config.save_pretrained(folder)


def empty_model(config: RunConfig) -> PreTrainedModel:
    """The run's base model without weights (torch's device meta). Raises ValueError for one that is quantised."""
    settings = ModelSource.of(config).settings()
    refuse_quantised(settings.to_dict(), config.model_id)
    return on_meta(settings, trust_remote_code=config.trust_remote_code)


def read_skeleton(config: RunConfig) -> Skeleton:
    """The skeleton of the run's base model; no weight is loaded (under a second)."""
    from bitsandbytes.nn.modules import Linear4bit
    from transformers.quantizers.auto import AutoHfQuantizer

    model, place = empty_model(config), ModelSource.of(config)
    settings, own_code = copy.deepcopy(model.config), type(model).__module__.startswith("transformers_modules")
    kinds = {type(module).__name__ for module in model.modules()}
    paths = {id(module): f"{name}.weight" for name, module in model.named_modules()}
    output, source = paths.get(id(model.get_output_embeddings())), paths.get(id(model.get_input_embeddings()))
    tied = {output: source} if settings.get_text_config().tie_word_embeddings and output and source else {}
    weights, dtype = model.state_dict(), weight_dtype(config)
    names, other = [name for name in weights if name not in tied], _other_formats(model, weights, dtype)
    quantised = frozenset()
    if packed := quantization_config(config):
        # the same steps as from_pretrained(quantization_config=...), on the skeleton
        quantizer = AutoHfQuantizer.from_config(packed, pre_quantized=False)
        with untied(model):
            quantizer.preprocess_model(model=model, device_map={"": "cpu"})
        quantised = frozenset(name for name, module in model.named_modules() if isinstance(module, Linear4bit))
    files = weight_files(place.path, place.revision)
    return Skeleton(settings, own_code, "Conv1D" in kinds, files, names, quantised, tied, dtype, other)


def _other_formats(model: PreTrainedModel, weights: dict, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Weight name -> format, where `from_pretrained(dtype=dtype)` does not give it that one: rounded to 16 bits, a
    router's float32 bias would choose other experts."""
    plan = {re.compile(part.replace("*", ".*")): kind for part, kind in model._get_dtype_plan(dtype).items()}
    other = {name: weight.dtype for name, weight in weights.items() if not weight.is_floating_point()}
    return other | {name: kind for part, kind in plan.items() for name in weights if part.search(name)}
