"""The chat template: how messages become one text, the same for training, for asking and for serving."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from helpers.template.asking import end_of_turn
from helpers.template.capabilities import CALLING_ANSWER, THINKING_ANSWER, capabilities, fold, normalise, write
from helpers.template.sandbox import ANSWER, TOOLS, USER
from helpers.template.spans import answer_spans, is_document, write_document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# For models that bring none, such as Llama-2-7b. The generation prompt ends before the blank, which belongs to the
# answer: "<bot> 네" is cut into tokens as "<bot>" and " 네", and the model must write the second part itself.
PROJECT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ '<sys> ' + message['content'] + '\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '<usr> ' + message['content'] + '\\n' }}"
    "{% else %}{{ '<bot> ' + message['content'] + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<bot>' }}{% endif %}"
)

# What a model may be trained to say last: a text, a thought and a text, a tool call, a thought and a tool call
KINDS_OF_ANSWER = [ANSWER, THINKING_ANSWER, CALLING_ANSWER, {**CALLING_ANSWER, "reasoning_content": "⟦t⟧"}]


def project_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The project's template; it begins with BOS where the tokenizer itself puts one before every text."""
    return ("{{ bos_token }}" if adds_bos(tokenizer) else "") + PROJECT_TEMPLATE


def adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True when the tokenizer puts BOS before a plain text, as the base model saw it in pretraining."""
    return tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]


class Prompt(list):
    """Messages that ask for a reply, and the `tools` that it may call."""

    def __init__(self, messages: Iterable[dict] = (), tools: Iterable[dict] | None = ()):
        super().__init__(messages)
        self.tools = list(tools or ())

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.tools == getattr(other, "tools", self.tools)

    def __ne__(self, other: object) -> bool:
        return not self == other


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: list[dict] | Prompt,
    add_generation_prompt: bool = False,
    tools: list | tuple | None = None,
) -> str:
    """`messages` as the text that the model sees, as the template takes them; `tools`: default those of a `Prompt`."""
    if is_document(messages):
        return write_document(tokenizer, messages, ends=not add_generation_prompt)
    tools = tools or (messages.tools if isinstance(messages, Prompt) else None)
    return write(tokenizer, normalise(tokenizer, messages), add_generation_prompt, tools)


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict] | Prompt, tools: list | tuple | None = None
) -> list[int]:
    """Token ids that ask for the next reply: the rendered messages and the generation prompt, with BOS at most once."""
    text = render(tokenizer, messages, add_generation_prompt=True, tools=tools)
    return tokenizer(text, add_special_tokens=False).input_ids


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end a reply: the tokenizer's EOS, and every control token that ends a last answer of some kind in
    training.

    Where the template writes no end (GLM-4.5), the token with which the next turn begins. What also stands inside an
    answer, behind its thought say, ends no reply.
    """
    try:
        text = render(tokenizer, [USER, ANSWER, USER, ANSWER])
    except Exception:  # a template may fail in any way on what it does not take: one for a single question
        text = render(tokenizer, [USER, ANSWER])
    *earlier, last = text.split("⟦a⟧")[1:]
    matches = list(filter(None, map(end_of_turn(tokenizer).match, (last, *earlier))))
    ends, inside = {match[1] for match in matches[:1]}, set()
    for answer in KINDS_OF_ANSWER:
        *within, end = _control_tokens(tokenizer, answer)
        ends |= {end} - {""}
        inside |= set(within) - ends
    eos: Any = tokenizer.eos_token_id
    found: Any = tokenizer.convert_tokens_to_ids(sorted(ends - inside))
    return sorted({eos, *found})


def _control_tokens(tokenizer: PreTrainedTokenizerBase, answer: dict) -> list[str]:
    """The control tokens in an answer of this kind; the last one is that which ends it, "" for none."""
    try:
        text, spans = answer_spans(tokenizer, [USER, answer], TOOLS if "tool_calls" in answer else ())
    except ValueError:  # this template knows no such answer
        return [""]
    start, end = spans[-1] if spans else (0, 0)
    tokens = list(end_of_turn(tokenizer).finditer(text, start, end))
    if not tokens or tokens[-1].end() != end:
        return [*(token[1] for token in tokens), ""]
    return [token[1] for token in tokens]


def fold_system(tokenizer: PreTrainedTokenizerBase, messages: list[dict]) -> list[dict]:
    """`messages`, with the system turn put before the first user turn if the template refuses or ignores it."""
    return messages if takes_system(tokenizer) else fold(messages)


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True when the template shows a system turn to the model."""
    return capabilities(tokenizer).system
