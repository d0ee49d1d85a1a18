"""How many rows fit at once into the memory that is free. 05 and 06 ask, 00 plans with it."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from helpers.model.device import lowest, sharded
from helpers.model.memory import free_memory
from helpers.model.meta import keep_layers, layer_kinds, on_meta

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEPT_FREE = 0.1  # share of the free memory that is not given away: gaps, and what others take meanwhile
# bytes per token of the vocabulary and position: logits, their float32 copy, both models' logarithms
SCORES = 2 + 4 + 4 + 4


def cache_bytes(text: dict, tokens: int) -> int:
    """Bytes that one row of `tokens` keeps while it is generated, in 16 bits; `text`: the model's config as a dict.

    The library's own model is asked, without weights; where it cannot be run so, a limit by the sizes' names.
    """
    counted = _counted(json.dumps(text, sort_keys=True, default=str), tokens)
    return by_names(text, tokens) if counted is None else counted


@functools.lru_cache(maxsize=256)
def _counted(text: str, tokens: int) -> int | None:
    import torch

    try:
        model, times = _model(text)
        with torch.inference_mode():
            out = model(input_ids=torch.zeros((1, tokens), dtype=torch.long, device="meta"), use_cache=True)
    except Exception:
        return None
    for name in ("past_key_values", "cache_params", "state"):
        if out.get(name) is not None:
            return times * tensor_bytes(out[name]) or None
    return None


@functools.lru_cache(maxsize=4)
def _model(text: str) -> tuple[PreTrainedModel, int]:
    """A model without weights, and how often what it keeps has to be counted: of layers all alike only one is left."""
    import torch

    model = on_meta(json.loads(text), dtype=torch.bfloat16).eval()
    path, kinds = layer_kinds(model)
    if len(set(kinds)) != 1:
        return model, 1
    keep_layers(model, path, [0])
    return model, len(kinds)


def tensor_bytes(kept: object) -> int:
    """Bytes of all tensors in a cache of any kind, each once."""
    import torch

    total, waiting, seen = 0, [kept], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            total += thing.nbytes
        elif isinstance(thing, (dict, list, tuple)):
            waiting += thing.values() if isinstance(thing, dict) else thing
        elif not isinstance(thing, (type, torch.nn.Module)) and "configuration" not in type(thing).__module__:
            waiting.append(getattr(thing, "__dict__", ()))
    return total


def by_names(text: dict, tokens: int) -> int:
    """An upper limit of the keys and values of one row of `tokens`: every layer keeps them for every head and token."""
    heads = _size(text, "num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
    kv_heads = _size(text, "num_key_value_heads", "multi_query") or heads  # multi_query: True, one head
    size = _size(text, "head_dim", "kv_channels") or _width(text) // max(heads, 1)
    # of compressed attention the library keeps the keys and values that it unpacks
    unpacked = heads * sum(_size(text, name) for name in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
    each = max(2 * kv_heads * size, unpacked, _size(text, "kv_lora_rank"))
    return 2 * _size(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers") * each * tokens


def _size(text: dict, *names: str) -> int:
    """The first of these sizes that a config has; 0 for none."""
    return next((text[name] for name in names if text.get(name)), 0)


def _width(text: dict) -> int:
    return _size(text, "hidden_size", "n_embd", "d_model")


def reply_bytes(text: dict, tokens: int) -> int:
    """Bytes that one row of `tokens`, prompt and reply, needs while it is generated: cache and one layer."""
    return cache_bytes(text, tokens) + _layer_bytes(text, tokens)


def scoring_bytes(text: dict, tokens: int) -> int:
    """Bytes that one row of `tokens` needs while its NLL is measured: logits, copies, and one layer."""
    return SCORES * tokens * text["vocab_size"] + _layer_bytes(text, tokens)


def _layer_bytes(text: dict, tokens: int) -> int:
    wide = _size(text, "intermediate_size", "n_inner") or 4 * _width(text)
    return 2 * tokens * (3 * wide + 4 * _width(text))


def rows_at_once(free: float, per_row: float, at_most: int) -> int:
    """How many rows of `per_row` bytes are worked on together within `free` bytes: 1 to `at_most`."""
    return max(1, min(at_most, int(free * (1 - KEPT_FREE) / max(per_row, 1))))


def reply_rows(model: PreTrainedModel, tokens: int, at_most: int) -> int:
    """How many rows of `tokens` (prompt and reply) `model` can answer at once on its device."""
    text = model.config.get_text_config(decoder=True).to_dict()
    bytes_of_row = reply_bytes(text, tokens) * model.dtype.itemsize / 2
    return rows_at_once(free_memory(model.device), bytes_of_row, at_most)


def scoring_rows(model: PreTrainedModel, tokens: int, at_most: int) -> int:
    """How many rows of `tokens` `model` can be measured on at once; under FSDP where there is least room."""
    text = model.config.get_text_config(decoder=True).to_dict()
    rows = rows_at_once(free_memory(model.device), scoring_bytes(text, tokens), at_most)
    return int(lowest(rows)) if sharded() else rows  # there each pass is one of all processes
