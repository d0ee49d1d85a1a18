"""Which answers and thoughts of a conversation are learned, by `learn_thinking` and by what the template shows at
use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.template.capabilities import capabilities, split_thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Policy:
    """What is written of a conversation, and what of it is learned."""

    messages: list[dict]  # to be written; thoughts that nobody shows are taken out
    shown: list[dict]  # the same turns as the template shows them, thoughts in their field
    learned: dict[int, bool]  # turn of `shown` -> is its thought learned too?
    as_at_use: bool  # the template has to write it itself, since its marked twin shows more

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, messages: list[dict], learn_thinking: str) -> Policy:
        """`learn_thinking`: all, last, none or auto; see `spans.answer_spans`."""
        takes = capabilities(tokenizer)
        folded = int(messages[0]["role"] == "system" and len(messages) > 1 and not takes.system)
        shown, learned, thinking, question = messages[folded:], {}, set(), 0
        for turn, message in enumerate(shown):
            if message["role"] == "user":
                question = turn
            if message["role"] != "assistant":
                continue
            shown[turn] = split_thinking(message)
            if message.get("train", True):
                learned[turn] = True
            if "reasoning_content" in shown[turn]:
                thinking.add(turn)
        earlier = thinking.intersection(range(question))
        if learn_thinking == "all" or (learn_thinking == "auto" and takes.earlier_thoughts):
            return cls(messages, shown, learned, as_at_use=False)
        if learn_thinking == "none" or takes.earlier_thoughts or not earlier:
            read = thinking if learn_thinking == "none" else earlier
            return cls(messages, shown, learned | dict.fromkeys(read & learned.keys(), False), as_at_use=False)
        learned = {turn: True for turn in learned if turn > question}
        if takes.thoughts:
            return cls(messages, shown, learned, as_at_use=True)
        return cls(_without_thoughts(messages, {turn + folded for turn in earlier}), shown, learned, as_at_use=False)


def _without_thoughts(messages: list[dict], turns: set[int]) -> list[dict]:
    """`messages`, of which these turns have no thought, whether it stood in a field or in the text."""
    kept = list(messages)
    for turn in turns:
        kept[turn] = {
            name: value for name, value in split_thinking(messages[turn]).items() if name != "reasoning_content"
        }
    return kept
