"""Packing puts several conversations into one row: how many rows at once, and do the conversations stay apart?"""

from __future__ import annotations

from dataclasses import replace

from helpers.model.device import attention
from helpers.settings import RunConfig
from helpers.show.words import _

TOLERANCE = 0.1  # of the largest logit: 16-bit rounding stays far below, a leak far above


def one_row_a_pass(config: RunConfig) -> RunConfig:
    """`config` with as many packed rows in a step, but one in each forward pass, where FlashAttention is not used.

    Without it the packed rows of a pass get one dense mask of (rows x length)^2 pairs, nearly all of them forbidden and
    computed all the same; an evaluation too. With it, or without packing, `config` as it is.
    """
    if not config.packing or attention(config) == "flash_attention_2":
        return config
    rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
    one = {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1}
    return replace(config, gradient_accumulation_steps=rows, **one)


def require_rows_apart(model, rows) -> float:
    """Compare the logits of a row alone with those of the same row packed behind another, told apart by position ids.

    `rows`: encoded rows (input_ids). Gives the largest difference, as a share of the largest logit, 0 to 1.
    Raises ValueError for an architecture in which the packed row sees its neighbour (OPT and others that ignore
    position ids): what it would learn there is not what it will be asked.
    """
    import torch

    first, second = (list(rows[i]["input_ids"]) for i in (0, 1 % len(rows)))
    alone, packed = positions([second]), positions([first, second])
    training = model.training
    model.eval()
    with torch.no_grad():
        wanted, found = (
            model(**{name: values.to(model.device) for name, values in inputs.items()}, use_cache=False).logits.float()
            for inputs in (alone, packed)
        )
    model.train(training)
    off = ((found[0, len(first) :] - wanted[0]).abs().max() / wanted.abs().max()).item()
    if off > TOLERANCE:
        said = _(
            "packing=True mixes the conversations of a row in the architecture {kind!r} (logits differ by {off:.0%}): set "
            "packing=False."
        )
        raise ValueError(said.format(kind=model.config.model_type, off=off))
    return off


def positions(rows: list[list[int]]) -> dict:
    """`rows` as one packed row: input_ids and position_ids of shape (1, tokens), each row's positions from 0."""
    import torch

    return {
        "input_ids": torch.tensor([[token for row in rows for token in row]]),
        "position_ids": torch.tensor([[place for row in rows for place in range(len(row))]]),
    }
