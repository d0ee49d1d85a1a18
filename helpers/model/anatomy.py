"""What a model is made of, counted on the library's own model without its weights.

A config.json says little: Gemma 3's leaves out what it takes from its defaults, a mixture of experts names two widths,
and which weights bitsandbytes can pack is a matter of the modules. transformers knows, in half a second for any size.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from dataclasses import dataclass

from helpers.model.meta import kind_of, layer_list, not_packed, on_meta, one_line, unanswerable
from helpers.show.words import _


@dataclass(frozen=True)
class Map:
    """A kind of linear map: the last part of its name (q_proj), its sizes, and how many of it the model has."""

    name: str
    inputs: int
    outputs: int
    packed: bool  # bitsandbytes makes 4 bits of it
    adapted: bool  # peft puts a LoRA branch beside it
    count: int


@dataclass(frozen=True)
class Anatomy:
    """The parameters of a model by kind, tied ones once, and its linear maps; `refused`: why peft takes no adapter."""

    parameters: int
    packed: int  # of them those that bitsandbytes makes 4 bits of
    adapter: int  # parameters of a LoRA of rank 1: it grows with the rank
    maps: tuple[Map, ...]
    text: dict  # the language model's own settings, with the defaults of its class
    refused: str = ""
    checkpoints: bool = True  # its code can compute activations again (activation_checkpointing)
    merges_by_weight: bool = True  # False: its files name or turn weights otherwise, so peft merges it in memory

    @property
    def adapts_experts(self) -> bool:
        """Whether peft puts branches beside experts that lie in one tensor, too."""
        return self.adapter > sum((m.inputs + m.outputs) * m.count for m in self.maps if m.adapted)


def anatomy(model_config: dict, target_modules: str = "all-linear") -> Anatomy:
    """Count a model. Raises NotImplementedError with the reason where the library cannot build it."""
    return _counted(json.dumps(model_config, sort_keys=True, default=str), target_modules)


@functools.lru_cache(maxsize=64)
def _counted(text: str, target_modules: str) -> Anatomy:
    import torch
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.quantizers_utils import should_convert_module

    model_config = json.loads(text)
    try:
        model = on_meta(model_config, dtype=torch.bfloat16)
        total, kept = sum(p.numel() for p in model.parameters()), not_packed(model)
        linear = {name: m for name, m in model.named_modules() if isinstance(m, (torch.nn.Linear, Conv1D))}
        sizes = {name: tuple(m.weight.shape[:: 1 if isinstance(m, Conv1D) else -1]) for name, m in linear.items()}
        # as transformers does: a class derived from Linear (Falcon's) stays in 16 bits
        plain = {name for name, module in linear.items() if type(module) in (torch.nn.Linear, Conv1D)}
        packed = {name for name in plain if should_convert_module(name, kept)}
        turned = any(isinstance(module, Conv1D) for module in linear.values())
        renamed = turned or bool(get_checkpoint_conversion_mapping(model.config.model_type))
        settings = model.config.get_text_config(decoder=True)
        shortened = Shortened.of(model, settings)
    except Exception as error:  # whatever strangers' files and code raise: it is told
        kind = model_config.get("model_type", "?")
        sentence = _("transformers cannot build the architecture {kind!r} ({reason}).")
        raise NotImplementedError(sentence.format(kind=kind, reason=one_line(error))) from error
    branches, refused = _branches(model, target_modules)
    maps = Counter(
        (name.rpartition(".")[2], *sizes[name], name in packed, shortened.name(name) in branches) for name in linear
    )
    return Anatomy(
        parameters=total,
        packed=sum(math.prod(sizes[name]) for name in packed),
        adapter=sum(count * shortened.times(name) for name, count in branches.items()),
        maps=tuple(Map(*one, count) for one, count in maps.items()),
        text=settings.to_dict() | {"num_hidden_layers": getattr(settings, "num_hidden_layers", None)},
        refused=refused,
        checkpoints=model.supports_gradient_checkpointing,
        merges_by_weight=not renamed,
    )


@dataclass(frozen=True)
class Shortened:
    """A model of which one layer of each kind is left, and where its many layers have gone."""

    prefix: str  # path of the list of layers
    places: tuple[int, ...]  # for each layer of the whole model, its place among those that are left

    @classmethod
    def of(cls, model, settings) -> Shortened:
        """Leave one layer of each kind in `model`, which is changed; all of them where it has no single list of layers."""
        import torch

        layers = layer_list(model)
        if layers is None:
            return cls("", ())
        kinds = [kind_of(layer, place, settings) for place, layer in enumerate(layers)]
        order = list(dict.fromkeys(kinds))
        prefix = next(name for name, module in model.named_modules() if module is layers)
        model.set_submodule(prefix, torch.nn.ModuleList(layers[kinds.index(kind)] for kind in order))
        return cls(f"{prefix}.", tuple(order.index(kind) for kind in kinds))

    def name(self, path: str) -> str:
        """The path of a module of the whole model, in the short one."""
        if not self.prefix or not path.startswith(self.prefix):
            return path
        number, _, rest = path.removeprefix(self.prefix).partition(".")
        return f"{self.prefix}{self.places[int(number)]}.{rest}"

    def times(self, path: str) -> int:
        """How many modules of the whole model the one at `path` of the short one stands for."""
        if not self.prefix or not path.startswith(self.prefix):
            return 1
        return self.places.count(int(path.removeprefix(self.prefix).partition(".")[0]))


def _branches(model, target_modules: str) -> tuple[dict[str, int], str]:
    """Where peft puts a LoRA of rank 1: path of a module -> its new parameters; and why it refuses."""
    import warnings

    from peft import LoraConfig, get_peft_model

    names = [name.strip() for name in target_modules.split(",") if name.strip()]
    chosen = "all-linear" if names == ["all-linear"] else names
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lora = LoraConfig(task_type="CAUSAL_LM", r=1, lora_alpha=1, target_modules=chosen)
            adapted = get_peft_model(model, lora, low_cpu_mem_usage=True)
    except Exception as error:
        return {}, one_line(error)
    found = Counter()
    for path, parameter in adapted.named_parameters():
        if "lora_" in path:
            found[path.removeprefix("base_model.model.").partition(".lora_")[0]] += parameter.numel()
    return found, unanswerable(adapted)
