"""Which 4 bits? What the library offers, side by side on one base model: memory, error of the weights, NLL."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from helpers.evaluate.held_out import held_out_nll
from helpers.model.load import load_base_model
from helpers.model.quantise import rounded
from helpers.settings import RunConfig
from helpers.show.words import _

if TYPE_CHECKING:
    from datasets import Dataset

# not 128 and more: where such a block does not divide a row, bitsandbytes 0.50 unpacks it with wrong scales on a CPU
KINDS = [*itertools.product(("nf4", "fp4"), (False, True), (64,)), ("nf4", True, 32)]


def quantiser_rows(config: RunConfig, rows: Dataset) -> list[dict]:
    """A row for 16 bits and for each of KINDS (number format, double quantisation, block).

    Bits per weight of the linear layers, their error as a share of the weights (root mean squares), and the base's NLL
    on `rows` (nats per answer token).
    """
    import torch

    model = load_base_model(config, four_bit=False)
    head = model.get_output_embeddings()
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear) and layer is not head]
    exact, told = [layer.weight.data for layer in layers], _("{kind}, double quantisation, block {block}")
    table = [{"format": _("16 bits"), "bits per weight": 16.0, "error": "", "NLL": _nll(model, rows)}]
    for kind, double, block in KINDS:
        error = size = 0.0
        for layer, weight in zip(layers, exact, strict=True):
            layer.weight.data = rounded(weight, kind, double, block)
            error += (layer.weight.data - weight).float().square().sum().item()
            size += weight.float().square().sum().item()
        name = told if double else _("{kind}, block {block}")
        bits = 4 + (8 / block + 32 / (256 * block) if double else 32 / block)
        row = {"format": name.format(kind=kind, block=block), "bits per weight": round(bits, 3)}
        table.append({**row, "error": f"{(error / size) ** 0.5:.2%}", "NLL": _nll(model, rows)})
    return table


def _nll(model, rows: Dataset) -> str:
    return f"{held_out_nll(model, rows).nll_per_token:.3f}"
