"""What a model is made of, counted on the library's own model: it is built on "meta", where tensors have no numbers.

A config.json says little: Gemma 3's leaves out what it takes from its defaults, a mixture of experts names two widths,
and which weights bitsandbytes can pack is a matter of the modules. transformers knows, in half a second for any size.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from helpers.files import write_json

MOST_LAYERS = 2048  # of layers or experts: more would be built for minutes, and no model has them
COUNTS = re.compile(r"(layers?|blocks|experts|depths?)$")  # names of settings that say how many modules are built


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


def full_config(model_config: dict):
    """config.json as the library's own config object, read as it reads the file: defaults, old names, infinite numbers.

    Raises NotImplementedError for absurdly many layers, else whatever the library raises.
    """
    from transformers import AutoConfig

    left_out = ("quantization_config", "auto_map", "torch_dtype", "dtype", "transformers_version")
    kept = {key: value for key, value in model_config.items() if key not in left_out}
    for part in (kept, *(value for value in kept.values() if isinstance(value, dict))):
        for name, value in part.items():
            if COUNTS.search(name) and isinstance(value, int) and value > MOST_LAYERS:
                raise NotImplementedError(f"{name}={value:,} is more than any model has")
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", kept)
        try:
            return AutoConfig.from_pretrained(folder, local_files_only=True)
        except ValueError as error:
            raise ValueError(str(error).replace(folder, "config.json")) from error


def on_meta(model_config: dict, **keywords):
    """The model of a config.json without numbers; `keywords` (dtype, attn_implementation) as `from_config` takes them."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(full_config(model_config), **keywords)
    model.tie_weights()
    return model


def layer_list(model):
    """The `ModuleList` of the language model's layers; None where there is not exactly one candidate."""
    import torch

    count = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count and count > 1]
    return lists[0] if len(lists) == 1 else None


def kind_of(layer, place: int, text_config) -> tuple:
    """What makes two layers the same: modules, shapes, and the kind of attention that the config gives them."""
    kinds = getattr(text_config, "layer_types", None) or getattr(text_config, "layers_block_type", None)
    shapes = tuple((name, tuple(p.shape)) for name, p in layer.named_parameters())
    return type(layer).__name__, kinds[place] if kinds and place < len(kinds) else "", shapes


@contextlib.contextmanager
def untied(model):
    """Let transformers ask a tied `model` what it packs as `from_pretrained` does: before the weights are tied.

    It keeps the last parameter of all in 16 bits. After tying that is not the output layer's, but the one before (Gemma 3n).
    """
    from unittest import mock

    with mock.patch.object(
        model, "named_parameters", functools.partial(model.named_parameters, remove_duplicate=False)
    ):
        yield


def not_packed(model) -> list[str]:
    """The modules of `model`, tied, that transformers keeps in 16 bits."""
    from transformers.quantizers.base import get_keys_to_not_convert

    with untied(model):
        return get_keys_to_not_convert(model)


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
        raise NotImplementedError(
            f"transformers cannot build the architecture {kind!r} ({one_line(error)})."
        ) from error
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


def unanswerable(adapted) -> str:
    """Why a branch cannot be added to what a layer of `adapted` answers; "" where all can. Llama 4's router answers a tuple."""
    import torch

    for path, module in adapted.named_modules():
        layer = getattr(module, "base_layer", None)
        if not isinstance(layer, torch.nn.Linear) or type(layer).forward is torch.nn.Linear.forward:
            continue
        try:
            answer = layer(torch.empty(1, layer.in_features, dtype=layer.weight.dtype, device=layer.weight.device))
        except Exception:  # it wants more than its input: nothing is known about its answer
            continue
        if not isinstance(answer, torch.Tensor):
            return f"{path.rpartition('.')[2]} answers with a {type(answer).__name__}, to which no branch can be added"
    return ""


def unreachable(model) -> str:
    """Why TRL's loss cannot train `model`; "" where it can. It looks for the layers under the model's `base_model_prefix`."""
    if model.base_model is not model:
        return ""
    return f"TRL's loss does not find the layers inside {type(model).__name__}, so a training stops at its first step"


def name_experts(model) -> None:
    """Call the experts of `model` as TRL 1.16 does, which reads `num_experts` where some configs say `num_local_experts`."""
    text = model.config.get_text_config()
    if hasattr(text, "num_local_experts") and not hasattr(text, "num_experts"):
        text.num_experts = text.num_local_experts


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    text = " ".join(str(error).split())[:240] or type(error).__name__
    return text.encode("utf-8", "backslashreplace").decode()  # half a character can stand in a file, and not on a page
