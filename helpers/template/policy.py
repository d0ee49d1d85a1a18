"""Which answers and thoughts of a conversation are learned, by `learn_thinking` and by what the template shows at use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.template.capabilities import Capabilities, capabilities, split_thinking

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
        shown = [split_thinking(message) if message["role"] == "assistant" else message for message in messages]
        folded = int(shown[0]["role"] == "system" and len(shown) > 1 and not takes.system)
        shown = shown[folded:]
        thinking = {turn for turn, message in enumerate(shown) if "reasoning_content" in message}
        question = max((turn for turn, message in enumerate(shown) if message["role"] == "user"), default=0)
        learned = {turn: True for turn, message in enumerate(shown) if _is_learned(message)}
        earlier = {turn for turn in thinking if turn < question}
        if learn_thinking == "none":
            learned |= dict.fromkeys(thinking & learned.keys(), False)
        if not earlier or not _hides(learn_thinking, takes):
            return cls(messages, shown, learned, as_at_use=False)
        if takes.earlier_thoughts:
            learned |= dict.fromkeys(earlier & learned.keys(), False)
            return cls(messages, shown, learned, as_at_use=False)
        learned = {turn: whole for turn, whole in learned.items() if turn > question}
        if not takes.thoughts:  # they stand in the texts
            messages = [_forget(m) if turn - folded in earlier else m for turn, m in enumerate(messages)]
        return cls(messages, shown, learned, as_at_use=bool(takes.thoughts))

    def thought(self, turn: int) -> str:
        """The thought of a turn; "" for none."""
        return self.shown[turn].get("reasoning_content", "")


def _hides(learn_thinking: str, takes: Capabilities) -> bool:
    """True when thoughts of earlier questions are not learned."""
    return learn_thinking == "last" or (learn_thinking == "auto" and not takes.earlier_thoughts)


def _is_learned(message: dict) -> bool:
    return message["role"] == "assistant" and message.get("train", True)


def _forget(message: dict) -> dict:
    return {name: value for name, value in split_thinking(message).items() if name != "reasoning_content"}
