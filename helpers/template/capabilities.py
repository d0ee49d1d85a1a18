"""How a chat template wants its messages: what it takes, shows and hides; and so which thoughts are learned.

Every answer comes from the template itself, asked once with marks in place of the texts.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from helpers.template.sandbox import ANSWER, CALL, USER

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.S)  # a thought written into an answer, as most data sets do
THINKING_ANSWER = {**ANSWER, "reasoning_content": "⟦t⟧"}
SYSTEM = {"role": "system", "content": "⟦s⟧"}
CALLING_ANSWER = {"role": "assistant", "content": "", "tool_calls": [CALL]}


class Capabilities(NamedTuple):
    """What one template takes and shows."""

    parts: bool  # content is a list of parts, not a text
    system: bool  # a system turn is shown
    thoughts: str  # where the thought before the last answer is shown from: "field" (reasoning_content), "text", or ""
    earlier_thoughts: bool  # that before an earlier answer is shown too
    arguments: type  # of a tool call: dict, or str (JSON)


def capabilities(tokenizer: PreTrainedTokenizerBase, template: str | None = None) -> Capabilities:
    """Those of `template` (default: the tokenizer's own)."""
    return _capabilities(tokenizer, template or tokenizer.get_chat_template())


@functools.lru_cache(maxsize=64)
def _capabilities(tokenizer: PreTrainedTokenizerBase, template: str) -> Capabilities:
    def shown(*messages: dict, parts: bool) -> str:
        try:
            return write(tokenizer, with_parts(messages) if parts else list(messages), template=template)
        except Exception:  # a template may fail in any way on what it does not take
            return ""

    parts = "⟦q⟧" not in shown(USER, ANSWER, parts=False) and "⟦q⟧" in shown(USER, ANSWER, parts=True)
    ways = {"field": THINKING_ANSWER, "text": join_thinking(THINKING_ANSWER)}
    thoughts = next((way for way, answer in ways.items() if "⟦t⟧" in shown(USER, answer, parts=parts)), "")
    answer = ways[thoughts or "text"]
    return Capabilities(
        parts=parts,
        system="⟦s⟧" in shown(SYSTEM, USER, parts=parts),
        thoughts=thoughts,
        earlier_thoughts=shown(USER, answer, USER, answer, parts=parts).count("⟦t⟧") == 2,
        arguments=dict if shown(USER, CALLING_ANSWER, parts=parts) else str,
    )


def write(
    tokenizer: PreTrainedTokenizerBase,
    messages: list[dict],
    asking: bool = False,
    tools: list | tuple | None = None,
    template: str | None = None,
) -> str:
    """What the template writes, nothing changed before."""
    how = {"tools": list(tools or ()) or None, "add_generation_prompt": asking, "chat_template": template}
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **how))


def normalise(tokenizer: PreTrainedTokenizerBase, messages: list[dict], template: str | None = None) -> list[dict]:
    """`messages` as the template takes them: system folded in, thoughts where it reads them, contents in parts."""
    takes = capabilities(tokenizer, template)
    messages = messages if takes.system else fold(messages)
    messages = [_as_taken(message, takes) for message in messages]
    return with_parts(messages) if takes.parts else messages


def _as_taken(message: dict, takes: Capabilities) -> dict:
    """Without the mark whether it is learned; thought and arguments of calls as the template reads them."""
    message = {name: value for name, value in message.items() if name != "train"}
    if message["role"] == "assistant":
        message = split_thinking(message) if takes.thoughts == "field" else join_thinking(message)
    if takes.arguments is str and message.get("tool_calls"):
        calls = [{**call, "function": {**call["function"]}} for call in message["tool_calls"]]
        for function in (call["function"] for call in calls):
            if isinstance(function["arguments"], dict):
                function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
        message["tool_calls"] = calls
    return message


def fold(messages: list[dict]) -> list[dict]:
    """`messages` with the system turn put before the first user turn."""
    if messages[0]["role"] != "system" or len(messages) == 1:
        return messages
    system, user, *rest = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def split_thinking(message: dict) -> dict:
    """An answer that begins with <think>...</think>, with that thought in the field "reasoning_content" instead."""
    match = THOUGHT.match(message["content"] or "")
    if "reasoning_content" in message or not match:
        return message
    thought = {"reasoning_content": match[1].strip()} if match[1].strip() else {}
    return {**message, "content": message["content"][match.end() :], **thought}


def join_thinking(message: dict) -> dict:
    """An answer with its thought written before it, for templates that know no field for it."""
    if not message.get("reasoning_content"):
        return message
    return without_thought(message) | {
        "content": f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"
    }


def without_thought(message: dict) -> dict:
    return {name: value for name, value in message.items() if name != "reasoning_content"}


def with_parts(messages: list[dict] | tuple[dict, ...]) -> list[dict]:
    return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]


def text_of(message: dict) -> str:
    """The text of a turn, whether its content is in parts or not."""
    return message["content"] if isinstance(message["content"], str) else message["content"][0]["text"]


@dataclass(frozen=True)
class Policy:
    """What is written of a conversation, and what of it is learned."""

    messages: list[dict]  # to be written; thoughts that nobody shows are taken out
    shown: list[dict]  # the same turns as the template shows them, thoughts in their field
    learned: dict[int, bool]  # turn of `shown` -> is its thought learned too?
    as_at_use: bool = False  # the template has to write it itself, since its marked twin shows more

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, messages: list[dict], learn_thinking: str) -> Policy:
        """`learn_thinking`: all, last, none or auto; see `spans.answer_spans`."""
        takes = capabilities(tokenizer)
        folded = int(messages[0]["role"] == "system" and len(messages) > 1 and not takes.system)
        shown = [split_thinking(turn) if turn["role"] == "assistant" else turn for turn in messages[folded:]]
        question = max((number for number, turn in enumerate(shown) if turn["role"] == "user"), default=0)
        answers = [number for number, turn in enumerate(shown) if turn["role"] == "assistant"]
        learned = {number: True for number in answers if shown[number].get("train", True)}
        thinking = {number for number in answers if "reasoning_content" in shown[number]}
        earlier = {number for number in thinking if number < question}
        if learn_thinking == "auto":
            learn_thinking = "all" if takes.earlier_thoughts else "last"
        if learn_thinking == "all":
            return cls(messages, shown, learned)
        if learn_thinking == "none":
            return cls(messages, shown, learned | dict.fromkeys(thinking & learned.keys(), False))
        if takes.earlier_thoughts or not earlier:
            return cls(messages, shown, learned | dict.fromkeys(earlier & learned.keys(), False))
        learned = {number: True for number in learned if number > question}  # earlier thoughts are hidden at use
        if takes.thoughts:
            return cls(messages, shown, learned, as_at_use=True)
        written = list(messages)
        for number in earlier:  # whether its thought stood in a field or in the text
            written[number + folded] = without_thought(shown[number])
        return cls(written, shown, learned)
