"""What a model is made of, counted on the library's own model without its weights: config.json leaves out too much."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from helpers.model import lora
from helpers.model.meta import keep_layers, layer_kinds, not_packed, on_meta, one_line, unanswerable
from helpers.show.words import _

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Map:
    """A kind of linear map: the last part of its name (q_proj), its sizes, and how many of it the model has."""

    name: str
    inputs: int
    outputs: int
    packed: bool  # bitsandbytes makes 4 bits of it
    adapted: bool = False  # peft puts a LoRA branch beside it
    count: int = 1


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

    model_config = json.loads(text)
    try:
        model = on_meta(model_config, dtype=torch.bfloat16)
        total, linear = sum(p.numel() for p in model.parameters()), _linear(model)
        turned = any(isinstance(module, Conv1D) for module in model.modules())
        renamed = turned or bool(get_checkpoint_conversion_mapping(model.config.model_type))
        settings = model.config.get_text_config(decoder=True)
        paths = [path for path, _module in model.named_modules()]
        short = _shorten(model)
    except Exception as error:  # whatever strangers' files and code raise: it is told
        kind = model_config.get("model_type", "?")
        sentence = _("transformers cannot build the architecture {kind!r} ({reason}).")
        raise NotImplementedError(sentence.format(kind=kind, reason=one_line(error))) from error
    branches, refused = _branches(model, target_modules)
    maps = Counter(replace(m, adapted=short(path) in branches) for path, m in linear.items())
    return Anatomy(
        parameters=total,
        packed=sum(m.inputs * m.outputs for m in linear.values() if m.packed),
        adapter=sum(branches[short(path)] for path in paths),
        maps=tuple(replace(m, count=count) for m, count in maps.items()),
        text=settings.to_dict() | {"num_hidden_layers": getattr(settings, "num_hidden_layers", None)},
        refused=refused,
        checkpoints=model.supports_gradient_checkpointing,
        merges_by_weight=not renamed,
    )


def _linear(model: PreTrainedModel) -> dict[str, Map]:
    """Every linear map of `model`, which is whole, by its path."""
    import torch
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.quantizers_utils import should_convert_module

    found, kept = {}, not_packed(model)
    for path, module in model.named_modules():
        if not isinstance(module, (torch.nn.Linear, Conv1D)):
            continue
        outputs, inputs = module.weight.shape[::-1] if isinstance(module, Conv1D) else module.weight.shape
        # as transformers does: a class derived from Linear (Falcon's) stays in 16 bits
        packed = type(module) in (torch.nn.Linear, Conv1D) and should_convert_module(path, kept)
        found[path] = Map(path.rpartition(".")[2], inputs, outputs, packed)
    return found


def _shorten(model: PreTrainedModel) -> Callable[[str], str]:
    """Leave one layer of each kind in `model`, which is changed; gives a path's name in the short one."""
    prefix, kinds = layer_kinds(model)
    if not kinds:  # no single list of layers: all stay
        return str
    order = list(dict.fromkeys(kinds))
    keep_layers(model, prefix, map(kinds.index, order))
    layer = re.compile(rf"^{re.escape(prefix)}\.(\d+)")
    return lambda path: layer.sub(lambda number: f"{prefix}.{order.index(kinds[int(number[1])])}", path)


def _branches(model: PreTrainedModel, targets: str) -> tuple[Counter[str], str]:
    """Where peft puts a LoRA of rank 1: path of a module -> its new parameters; and why it refuses."""
    import warnings

    from peft import LoraConfig, get_peft_model

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            settings = LoraConfig(task_type="CAUSAL_LM", r=1, lora_alpha=1, target_modules=lora.target_modules(targets))
            adapted = get_peft_model(model, settings, low_cpu_mem_usage=True)
    except Exception as error:
        return Counter(), one_line(error)
    branches = Counter()
    for path, parameter in adapted.named_parameters():
        module, is_branch, _name = path.removeprefix("base_model.model.").partition(".lora_")
        if is_branch:
            branches[module.replace(".base_layer", "")] += parameter.numel()
    return branches, unanswerable(adapted)
