"""The base model without its weights: which modules it has, which of them 4-bit loading quantises, which are tied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from helpers.model.anatomy import untied
from helpers.model.device import weight_dtype
from helpers.model.quantise import quantization_config, refuse_quantised
from helpers.model.source import ModelSource
from helpers.model.weights import WeightFiles, weight_files
from helpers.settings import RunConfig


@dataclass(frozen=True)
class Skeleton:
    config: object  # transformers' own, of the 16-bit model
    files: dict[str, Path]  # weight name -> file
    names: list[str]  # the model's own weight names
    kinds: dict[str, str]  # module name -> class name
    quantised: frozenset[str]  # names of the modules that are 4-bit once loaded
    tied: tuple[str, str] | None  # (input, output) embedding weight names when they are one and the same
    dtype: object  # torch dtype of the merged weights

    def not_understood(self) -> str:
        """Why the weights of this model cannot be merged one by one, in words; "" when they can."""
        if getattr(self.config, "auto_map", None):
            return "the model brings its own Python code"
        if "Conv1D" in self.kinds.values():
            return "the model has Conv1D layers, which keep their weights transposed"
        absent = [name for name in self.names if name not in self.files and not (self.tied and name == self.tied[1])]
        if absent:
            return f"the model's weight {absent[0]} has another name in its file"
        return ""

    def check_fit(self, delta) -> None:
        """Raises ValueError when the adapter names a module, or a weight of a shape, that the base has not."""
        for module in delta.pairs:
            if f"{module}.weight" not in self.names:
                raise ValueError(f"The adapter changes {module}, which the base model has not: is it the right base?")
        base = WeightFiles(self.files)
        for key, name in delta.replaced.items():
            source = self.tied[0] if self.tied and key == self.tied[1] else key
            theirs, ours = delta.weights.shape(name), base.shape(source) if source in self.files else None
            if theirs != ours:
                raise ValueError(
                    f"The adapter's {key} has shape {theirs}, the base model's {ours}: is it the right base?"
                )

    def sources(self, delta) -> dict[str, str]:
        """Name in the merged model -> name in the base. A tied pair is written once, unless the adapter changes it.

        In training the adapter saw only the one of the two it was put on, so then both are written and `tied` ends.
        """
        merged = {name: name for name in self.names if not (self.tied and name == self.tied[1])}
        if self.tied and any(delta.touches(name.removesuffix(".weight")) for name in self.tied):
            merged[self.tied[1]] = self.tied[0]
        return merged

    def sizes(self, sources: dict[str, str]) -> dict[str, int]:
        """Bytes of each merged weight."""
        import math

        base = WeightFiles(self.files)
        return {name: math.prod(base.shape(source)) * self.dtype.itemsize for name, source in sources.items()}

    def save_config(self, folder: Path, untied: bool) -> None:
        import copy

        config = copy.deepcopy(self.config)
        config.dtype = self.dtype
        if untied:
            config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
        config.save_pretrained(folder)


def read_skeleton(config: RunConfig) -> Skeleton:
    """The skeleton of the run's base model; no weight is loaded (under a second)."""
    import torch
    from bitsandbytes.nn import Linear4bit
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.quantizers import AutoHfQuantizer

    source = ModelSource.of(config)
    settings = AutoConfig.from_pretrained(**source.keywords)
    refuse_quantised(settings.to_dict(), config.model_id)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings, trust_remote_code=config.trust_remote_code)
    names = list(model.state_dict())
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    embeddings = [
        next((f"{name}.weight" for name, module in model.named_modules() if module is end), None)
        for end in (model.get_input_embeddings(), model.get_output_embeddings())
    ]
    tied = tuple(embeddings) if settings.get_text_config().tie_word_embeddings and all(embeddings) else None
    quantised = frozenset()
    if config.load_in_4bit:
        # the same steps as from_pretrained(quantization_config=...), on the skeleton
        quantizer = AutoHfQuantizer.from_config(quantization_config(config), pre_quantized=False)
        with untied(model):
            quantizer.preprocess_model(model=model, device_map={"": "cpu"})
        quantised = frozenset(name for name, module in model.named_modules() if isinstance(module, Linear4bit))
    files = weight_files(source.path, source.revision)
    return Skeleton(settings, files, names, kinds, quantised, tied, weight_dtype(config))
