"""How much memory a training step needs, term by term: a closed form, fitted to nothing, that can be checked by hand.

`simulation.py` runs the same step and counts; where it can, its numbers are used. This module imports in milliseconds.
"""

from __future__ import annotations

from helpers.model.device import is_eager
from helpers.plan.parts import Part, adapter_parts, number_bytes, targeted, total, unpacked_at_work, weight_parts
from helpers.plan.shape import Shape
from helpers.settings import LOSS_ROWS, RunConfig
from helpers.show.words import N_, _

TILE_TOKENS, TILE_WORDS = 4096, 32768  # TRL 1.16 computes its loss in tiles of at most this size
SHARED = ("k_proj", "v_proj", "gate_proj")  # they read what another map has kept already
SCORES = 8  # bytes for each pair of tokens and head while plain attention's scores go backward: two in float32


def adapted_maps(config: RunConfig, shape: Shape) -> list[tuple[str, int, float]]:
    """The maps of one layer beside which a branch stands: name, inputs, how many of it a layer has on average."""
    counted = shape.counted(config.lora_target_modules)
    maps = [(m.name, m.inputs, m.count / shape.layers) for m in counted.maps if m.adapted] if counted else []
    return maps or [(f"{name}_proj", inputs, 1) for name, (inputs, _outputs) in targeted(config, shape).items()]


def saved_by_layer(config: RunConfig, shape: Shape, gpu: bool = True) -> float:
    """Bytes per token that the backward pass of a layer needs from its forward pass, with numbers of `number_bytes`."""
    wide, maps = number_bytes(config, gpu), adapted_maps(config, shape)
    ranks = wide * config.lora_r * sum(count for *_size, count in maps)
    kept = wide
    if config.lora_dropout:  # every adapter drops other inputs, so each keeps its own copy, and a mask
        kept += 1 if gpu else wide
    else:
        maps = [one for one in maps if one[0] not in SHARED]
    inputs = sum(kept * size * count for _name, size, count in maps)
    norms = 2 * (4 * shape.hidden + 4)  # the float32 copy inside each norm, and its scale
    feed_forward = (3 if shape.gated else 2) * wide * shape.intermediate
    return inputs + ranks + norms + saved_by_attention(config, shape, gpu) + feed_forward


def saved_by_attention(config: RunConfig, shape: Shape, gpu: bool) -> float:
    """Bytes per token: q, k, v, the result, and one sum per head; of plain attention the share of every pair, too."""
    wide, q, kv = number_bytes(config, gpu), shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    pairs = pairs_of_token(config, shape, gpu)
    if not pairs:
        return wide * (2 * q + 2 * kv) + 4 * shape.heads
    # its keys and values are repeated for every head; the shares are kept in float32 and, for the product, as computed
    return wide * 3 * q + (4 if wide == 4 else 4 + wide) * pairs


def pairs_of_token(config: RunConfig, shape: Shape, gpu: bool) -> int:
    """The numbers that plain attention ("eager") keeps for one token: one per head and token of its row; else none."""
    return shape.heads * row_length(config) if is_eager(config, gpu) else 0


def row_length(config: RunConfig) -> int:
    """Tokens in a row of the forward pass; packed rows are laid end to end."""
    return config.max_length * (config.per_device_train_batch_size if config.packing else 1)


def loss_part(config: RunConfig, shape: Shape, tokens: int, gpu: bool = True) -> Part:
    """The loss as the project computes it: in tiles on a GPU (TRL), on the labelled tokens, here all, on a CPU."""
    wide = number_bytes(config, gpu)
    hidden = (wide + 4) * tokens * shape.hidden
    if gpu:
        rows = min(tokens, TILE_TOKENS)
        how = _("a tile of {rows} x {words} logits in 16 bits, and the gradient of the last layer")
        how = how.format(rows=f"{rows:,}", words=f"{TILE_WORDS:,}")
        return Part(N_("loss"), 2 * rows * TILE_WORDS + hidden, how)
    block = (4 + 4) * min(tokens, LOSS_ROWS)  # so many tokens at a time in float32, and their logarithms
    how = _("{tokens} labelled tokens x {words} words of {size} bytes, and the gradient of the last layer")
    how = how.format(tokens=f"{tokens:,}", words=f"{shape.vocabulary:,}", size=wide)
    return Part(N_("loss"), (wide * tokens + block) * shape.vocabulary + hidden, how)


def full_logits_bytes(shape: Shape, tokens: int) -> int:
    """What the classical loss needs: all logits in 16 bits; in float32 the copy, its logarithms, and their gradient."""
    return (2 + 4 + 4 + 4) * tokens * shape.vocabulary


def step_parts(config: RunConfig, shape: Shape, gpu: bool = True) -> list[Part]:
    """The fullest point of a training step, by component: the loss, the layer at work, or the optimizer's step."""
    tokens = config.per_device_train_batch_size * config.max_length
    adapter, gradients, state = adapter_parts(config, shape)
    held, made = [*weight_parts(config, shape, gpu), adapter, state], [gradients]
    if config.gradient_accumulation_steps > 1:  # those of the rows before are there all the time
        held, made = [*held, gradients], []
    kept = kept_part(config, shape, tokens, gpu)
    fullest = max([loss_part(config, shape, tokens, gpu)], layer_parts(config, shape, tokens, gpu), key=total)
    # torch's AdamW makes and drops two numbers for each, on a GPU for all at once; the activations have gone by then
    stepping = 2 * adapter.bytes if gpu and "adamw_torch" in config.optim else 0
    if stepping + total(made) > kept.bytes + total(fullest):
        how = _("what AdamW works with, for all numbers at once")
        return [*held, *made, Part(N_("optimizer step"), stepping, how)]
    return [*held, kept, *mask_parts(config, config.per_device_train_batch_size, gpu), *fullest]


def kept_part(config: RunConfig, shape: Shape, tokens: int, gpu: bool) -> Part:
    """What the backward pass needs of all layers: their inputs, or without checkpointing all that they computed."""
    if config.activation_checkpointing:
        size = number_bytes(config, gpu) * shape.hidden
        how = _("the input of every layer, {tokens} tokens x {layers} layers")
    else:
        size = saved_by_layer(config, shape, gpu)
        how = _("everything the backward pass will need, {tokens} tokens x {layers} layers")
    how = how.format(tokens=f"{tokens:,}", layers=shape.layers)
    return Part(N_("kept activations"), shape.layers * size * tokens, how)


def layer_parts(config: RunConfig, shape: Shape, tokens: int, gpu: bool) -> list[Part]:
    """The backward pass inside one layer: its gradients, and its largest map with all bits."""
    size, how = widest(config, shape, gpu), _("the gradients of its widest part")
    if config.activation_checkpointing:
        size += saved_by_layer(config, shape, gpu)
        how = _("one layer computed again, and the gradients of its widest part")
    largest = _("the largest linear map with all its bits, one at a time")
    unpacked = Part(N_("unpacked weight"), unpacked_at_work(config, shape, gpu), largest)
    return [Part(N_("the layer at work"), size * tokens, how), unpacked]


def widest(config: RunConfig, shape: Shape, gpu: bool) -> int:
    """Bytes per token in the widest part of a layer: feed-forward, or the scores of plain attention."""
    return max(3 * number_bytes(config, gpu) * shape.intermediate, SCORES * pairs_of_token(config, shape, gpu))


def mask_parts(config: RunConfig, rows: int, gpu: bool = True) -> list[Part]:
    """Attention's mask. FlashAttention needs none; sdpa keeps packed rows apart by a dense one, rows x length squared.

    Plain attention adds one of the numbers it computes in to its scores, also where nothing is padded.
    """
    eager = is_eager(config, gpu)
    single = rows == 1 and not config.packing
    if config.attn_implementation == "flash_attention_2" or (single and not eager):
        return []
    each = number_bytes(config, gpu) if eager else 1
    size, how = each * rows * config.max_length**2, _("every pair of tokens, {size} B each: shorter rows are padded")
    if config.packing:
        size, how = rows * size, _("every pair of tokens, {size} B each: packed rows must not see each other")
    return [Part(N_("attention mask"), size, how.format(size=each))]
