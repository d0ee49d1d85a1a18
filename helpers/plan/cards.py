"""The cards you can rent (cards.json), and what they cost by your own list. Imports in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from helpers.files import read_json
from helpers.settings import RunConfig
from helpers.show.words import _


class Gpu(NamedTuple):
    """A card you can rent: memory in GB (10^9 bytes), and 10^12 dense 16-bit operations per second at most."""

    name: str
    gigabytes: int
    peak: float


GPUS = tuple(Gpu(**card) for card in read_json(Path(__file__).with_name("cards.json"))["cards"])
BY_NAME = {card.name: card for card in GPUS}


class UnknownCard(ValueError):
    """The `value` of a `setting` (gpu or prices) names a card that is not in the list, or a price that is none."""

    def __init__(self, setting: str, value: str, sentence: str):
        super().__init__(sentence.format(value=repr(value), known=", ".join(BY_NAME)))
        self.setting, self.value = setting, value


def gpu(name: str) -> Gpu:
    """The card `name`. Raises UnknownCard, which lists the known ones."""
    if name not in BY_NAME:
        raise UnknownCard("gpu", name, _("gpu={value} is not known: use one of {known}."))
    return BY_NAME[name]


def prices(config: RunConfig) -> dict[str, float]:
    """Card -> price per hour: config.prices ("RTX 4090 24 GB: 0.34, A100 80 GB: 1.19"), and that of config.gpu.

    Raises UnknownCard for a card that is not known or a price that is no number from 0 to 1,000,000.
    """
    by_card = {config.gpu: config.price_per_hour} if config.gpu and config.price_per_hour else {}
    for entry in filter(None, (part.strip() for part in config.prices.split(","))):
        name, _colon, text = entry.rpartition(":")
        try:
            price = float(text)
        except ValueError:
            price = -1.0
        if name.strip() not in BY_NAME or not 0 <= price < 10**6:
            sentence = _(
                "prices={value} is not a card and its price per hour (0 to 1,000,000), such as RTX 3090 24 GB: 0.3. "
                "Known cards: {known}."
            )
            raise UnknownCard("prices", entry, sentence)
        by_card[name.strip()] = price
    return by_card
