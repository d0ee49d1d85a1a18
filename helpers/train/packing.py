"""Packing puts several conversations into one row: how many rows at once, and do the conversations stay apart?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from helpers.model.device import attention
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedModel

TOLERANCE = 0.1  # of the largest logit: 16-bit rounding stays far below, a leak far above


def one_row_a_pass(config: RunConfig) -> RunConfig:
    """`config` with as many packed rows in a step, but one in each forward pass, where FlashAttention is not used.

    Without it the packed rows of a pass get one dense mask of (rows x length)^2 pairs, nearly all forbidden.
    """
    if not config.packing or attention(config) == "flash_attention_2":
        return config
    rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
    single = {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1}
    return replace(config, gradient_accumulation_steps=rows, **single)


def require_rows_apart(model: PreTrainedModel, rows) -> float:
    """Largest difference between the logits of a row alone and packed behind another, as a share of the largest logit.

    `rows`: encoded rows (input_ids). Raises ValueError for an architecture in which a packed row sees its neighbour
    (OPT and others that ignore position ids).
    """
    import torch

    first, second = (list(rows[i]["input_ids"]) for i in (0, 1 % len(rows)))
    alone, packed = positions([second]), positions([first, second])
    training = model.training
    model.eval()
    with torch.no_grad():
        wanted = model(**alone.to(model.device), use_cache=False).logits.float()
        logits = model(**packed.to(model.device), use_cache=False).logits.float()
    model.train(training)
    off = ((logits[0, len(first) :] - wanted[0]).abs().max() / wanted.abs().max()).item()
    if off > TOLERANCE:
        sentence = _(
            "packing=True mixes the conversations of a row in the architecture {kind!r} (logits differ by {off:.0%}): "
            "set packing=False."
        )
        raise ValueError(sentence.format(kind=model.config.model_type, off=off))
    return off


def positions(rows: list[list[int]]) -> BatchEncoding:
    """`rows` as one packed row: input_ids and position_ids of shape (1, tokens), each row's positions from 0."""
    from transformers import BatchEncoding

    places = [place for row in rows for place in range(len(row))]
    return BatchEncoding({"input_ids": [sum(rows, [])], "position_ids": [places]}, tensor_type="pt")
