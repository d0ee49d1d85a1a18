"""A verdict is a member of an Enum, so that a typo cannot be green; one that cannot be given is unclear."""

from __future__ import annotations

from enum import StrEnum

from helpers.show.words import N_, _


class Verdict(StrEnum):
    """How a check ended. In JSON it is the English word; on a page the reader's."""

    GREEN = N_("green")
    AMBER = N_("amber")  # look at it: nothing is wrong for sure
    UNCLEAR = N_("unclear")  # the data cannot say
    TOO_FEW = N_("too few")  # not even that can be asked of so few
    RED = N_("red")

    @property
    def word(self) -> str:
        """In the reader's language."""
        return _(self.value)
