"""The cards you can rent, and what they cost by your own list. Imports in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.settings import RunConfig


@dataclass(frozen=True)
class Gpu:
    """A card you can rent: memory in GB (10^9 bytes), and 10^12 dense 16-bit operations per second at most."""

    name: str
    gigabytes: int
    peak: float


# Peaks: NVIDIA's data sheets and GA102/AD102 white papers, 16-bit tensor cores that sum in 32 bits, without sparsity.
GPUS = (
    Gpu("T4 16 GB", 16, 65),
    Gpu("RTX 3090 24 GB", 24, 71),
    Gpu("L4 24 GB", 24, 121),
    Gpu("RTX 4090 24 GB", 24, 165),
    Gpu("RTX A6000 48 GB", 48, 155),
    Gpu("L40S 48 GB", 48, 362),
    Gpu("A100 80 GB", 80, 312),
    Gpu("H100 80 GB", 80, 989),
)


def gpu(name: str) -> Gpu:
    """The card `name`. Raises ValueError that lists the known ones."""
    for card in GPUS:
        if card.name == name:
            return card
    raise ValueError(f"gpu={name!r} is not known: use one of {', '.join(card.name for card in GPUS)}.")


def prices(config: RunConfig) -> dict[str, float]:
    """Card -> price per hour, from config.prices ("RTX 4090 24 GB: 0.34, A100 80 GB: 1.19") and price_per_hour for config.gpu.

    Raises ValueError for a card that is not known or a price that is no number.
    """
    found = {config.gpu: config.price_per_hour} if config.gpu and config.price_per_hour else {}
    for entry in filter(None, (part.strip() for part in config.prices.split(","))):
        name, _, price = (part.strip() for part in entry.rpartition(":"))
        try:
            found[gpu(name).name] = float(price)
        except ValueError as reason:
            known = ", ".join(card.name for card in GPUS)
            raise ValueError(
                f"prices={entry!r} is not a card and its price per hour, such as {GPUS[1].name}: 0.3. Known cards: {known}."
            ) from reason
        if not 0 <= found[name] < 10**6:
            raise ValueError(f"prices={entry!r}: a price per hour is a number from 0 to 1,000,000.")
    return found
