"""What ends an answer, where one lies in the text, and the complaint when it cannot be found."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from helpers.show.words import _

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Span(NamedTuple):
    """Characters [start, end) of one turn of the model, its end included; behind its thought the answer begins at `answer`."""

    turn: int
    start: int
    end: int
    answer: int = -1  # -1: no thought is shown


class Changed(ValueError):
    """The chat template refuses or changes this conversation; the sentence says how."""


def not_found() -> Changed:
    """The complaint about a text in which an answer is not what the messages say."""
    return Changed(_("The chat template changes the text of this conversation, so its answers cannot be found."))


@functools.lru_cache(maxsize=8)
def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> re.Pattern:
    """What may end an answer: one of the tokenizer's own control tokens, perhaps after white space."""
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    tokens = sorted((token for token in tokens if token.strip()), key=len, reverse=True)
    return re.compile(r"\s*(" + "|".join(map(re.escape, tokens)) + ")")
