"""The library's own model without its weights: built on "meta", where tensors have no numbers, in half a second."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from helpers.files import write_json
from helpers.show.words import _

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

MOST_LAYERS = 2048  # of layers or experts: more would be built for minutes, and no model has them
COUNTS = re.compile(r"(layers?|blocks|experts|depths?)$")  # names of settings that say how many modules are built


def full_config(model_config: dict) -> PretrainedConfig:
    """config.json as the library's own config object, read as it reads the file: defaults, old names, infinite numbers.

    Raises NotImplementedError for absurdly many layers, else whatever the library raises.
    """
    from transformers import AutoConfig

    left_out = ("quantization_config", "auto_map", "torch_dtype", "dtype", "transformers_version")
    kept = {key: value for key, value in model_config.items() if key not in left_out}
    parts = [kept, *filter(lambda value: isinstance(value, dict), kept.values())]
    for name, value in itertools.chain(*(part.items() for part in parts)):
        if COUNTS.search(name) and isinstance(value, int) and value > MOST_LAYERS:
            sentence = _("{name}={value:,} is more than any model has")
            raise NotImplementedError(sentence.format(name=name, value=value))
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", kept)
        try:
            return AutoConfig.from_pretrained(folder, local_files_only=True)
        except ValueError as error:
            raise ValueError(str(error).replace(folder, "config.json")) from error


def on_meta(settings: dict | PretrainedConfig, **keywords) -> PreTrainedModel:
    """The model of a config.json without numbers; `keywords` (dtype ...) as `from_config` takes them.

    What the file says of attention is not asked: it may name a kernel that is not here, or a stranger's."""
    import torch
    from transformers import AutoModelForCausalLM

    settings = full_config(settings) if isinstance(settings, dict) else settings
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings, **{"attn_implementation": None, **keywords})
    model.tie_weights()
    return model


def layer_kinds(model: PreTrainedModel) -> tuple[str, list[tuple]]:
    """The path of the language model's list of layers, and of each its class, kind of attention and shapes: layers that
    agree in all three are alike. "" and none where there is not exactly one candidate."""
    import torch

    settings = model.config.get_text_config(decoder=True)
    count = getattr(settings, "num_hidden_layers", None) or 0
    lists = [(path, m) for path, m in model.named_modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    if len(lists) != 1 or count < 2:
        return "", []
    path, layers = lists[0]
    kinds = getattr(settings, "layer_types", None) or getattr(settings, "layers_block_type", None) or []
    shapes = [tuple((name, tuple(p.shape)) for name, p in layer.named_parameters()) for layer in layers]
    names = [type(layer).__name__ for layer in layers]
    return path, list(itertools.zip_longest(names, kinds[:count], shapes, fillvalue=""))


def keep_layers(model: PreTrainedModel, path: str, places: Iterable[int]) -> None:
    """Leave only the layers at `places` of the list at `path`."""
    import torch

    layers = cast(Any, model.get_submodule(path))
    model.set_submodule(path, torch.nn.ModuleList(layers[place] for place in places))


@contextlib.contextmanager
def untied(model: PreTrainedModel) -> Iterator[None]:
    """Let transformers ask a tied `model` what it packs as `from_pretrained` does: before the weights are tied.

    It keeps the last parameter of all in 16 bits. Tied, that is not the output layer's, but the one before (Gemma 3n).
    """
    from unittest import mock

    every = functools.partial(model.named_parameters, remove_duplicate=False)
    with mock.patch.object(model, "named_parameters", every):
        yield


def not_packed(model: PreTrainedModel) -> list[str]:
    """The modules of `model`, tied, that transformers keeps in 16 bits."""
    from transformers.quantizers.base import get_keys_to_not_convert

    with untied(model):
        return get_keys_to_not_convert(model)


def unanswerable(adapted: torch.nn.Module) -> str:
    """Why a branch cannot be added to what a layer of `adapted` answers; "" where all can (Llama 4: a tuple)."""
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
            sentence = _("{name} answers with a {kind}, to which no branch can be added")
            return sentence.format(name=path.rpartition(".")[2], kind=type(answer).__name__)
    return ""


def unreachable(model: PreTrainedModel) -> str:
    """Why TRL's loss cannot train `model`; "" where it can. It looks for layers under the `base_model_prefix`."""
    if model.base_model is not model:
        return ""
    sentence = _("TRL's loss does not find the layers inside {name}, so a training stops at its first step")
    return sentence.format(name=type(model).__name__)


def name_experts(model: PreTrainedModel) -> None:
    """Call the experts of `model` as TRL 1.16 does, which reads `num_experts`, not `num_local_experts`."""
    text = model.config.get_text_config()
    if hasattr(text, "num_local_experts") and not hasattr(text, "num_experts"):
        text.num_experts = text.num_local_experts


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    text = " ".join(str(error).split())[:240] or type(error).__name__
    return text.encode("utf-8", "backslashreplace").decode()  # half a character can stand in a file, and not on a page
