"""How many rows fit at once into the memory that is free. 05 and 06 ask, 00 plans with it."""

from __future__ import annotations

from helpers.model.device import sharded
from helpers.model.memory import free_memory
from helpers.model.ranks import lowest

KEPT_FREE = 0.1  # share of the free memory that is not given away: gaps, and what others take meanwhile
# bytes per token of the vocabulary and position: logits, their float32 copy, both models' logarithms
SCORES = 2 + 4 + 4 + 4


def cache_bytes(text: dict, tokens: int) -> int:
    """Bytes of the keys and values of one row of `tokens`, 16 bits each; `text`: the language model's config as a dict.

    An upper limit: layers with a sliding window or without attention keep less.
    """
    heads = text.get("num_attention_heads") or text.get("n_head") or 0
    kv_heads = text.get("num_key_value_heads") or (1 if text.get("multi_query") else heads)
    width = text.get("hidden_size") or text.get("n_embd") or text.get("d_model") or 0
    size = text.get("head_dim") or (width // heads if heads else 0)
    layers = text.get("num_hidden_layers") or text.get("n_layer") or text.get("n_layers") or 0
    return 2 * 2 * layers * kv_heads * size * tokens


def reply_bytes(text: dict, tokens: int) -> int:
    """Bytes that one row of `tokens`, prompt and reply, needs while it is generated: its cache, and one layer's values."""
    width = text.get("hidden_size") or text.get("n_embd") or text.get("d_model") or 0
    wide = text.get("intermediate_size") or text.get("n_inner") or 4 * width
    return cache_bytes(text, tokens) + 2 * tokens * (3 * wide + 4 * width)


def scoring_bytes(text: dict, tokens: int) -> int:
    """Bytes that one row of `tokens` needs while its NLL is measured: logits and their copies, and one layer's values."""
    return SCORES * tokens * text["vocab_size"] + reply_bytes(text, tokens) - cache_bytes(text, tokens)


def rows_at_once(free: float, per_row: float, at_most: int) -> int:
    """How many rows of `per_row` bytes are worked on together within `free` bytes: 1 to `at_most`."""
    return max(1, min(at_most, int(free * (1 - KEPT_FREE) / max(per_row, 1))))


def reply_rows(model, tokens: int, at_most: int) -> int:
    """How many rows of `tokens` (prompt and reply) `model` can answer at once on its device."""
    text = model.config.get_text_config(decoder=True).to_dict()
    return rows_at_once(free_memory(model.device), reply_bytes(text, tokens), at_most)


def scoring_rows(model, tokens: int, at_most: int) -> int:
    """How many rows of `tokens` `model` can be measured on at once on its device; under FSDP on that with the least room."""
    text = model.config.get_text_config(decoder=True).to_dict()
    rows = rows_at_once(free_memory(model.device), scoring_bytes(text, tokens), at_most)
    return int(lowest(rows)) if sharded() else rows  # there each pass is one of all processes
