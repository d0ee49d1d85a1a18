"""A text without turns, for training on raw text: BOS, the text, EOS, and all of it is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DOCUMENT = "document"  # the role of its only message


def is_document(messages: list[dict]) -> bool:
    """True for a raw text in the place of a conversation."""
    return bool(messages) and messages[0]["role"] == DOCUMENT


def write_document(tokenizer: PreTrainedTokenizerBase, messages: list[dict], ends: bool = True) -> str:
    """The text that the model sees, as the base saw its own in pretraining; without `ends` it is to go on."""
    return (tokenizer.bos_token or "") + messages[0]["content"] + (tokenizer.eos_token or "") * ends
