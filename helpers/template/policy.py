"""Which answers and thoughts of a conversation are learned, by `learn_thinking` and by what the template shows at use."""

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
        shown = [split_thinking(m) if m["role"] == "assistant" else m for m in messages[folded:]]
        answers = [turn for turn, m in enumerate(shown) if m["role"] == "assistant"]
        learned = {turn: True for turn in answers if shown[turn].get("train", True)}
        thinking = {turn for turn in answers if "reasoning_content" in shown[turn]}
        question = max((turn for turn, m in enumerate(shown) if m["role"] == "user"), default=0)
        earlier = {turn for turn in thinking if turn < question}
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
