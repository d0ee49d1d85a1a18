"""Which characters of a rendered conversation are the model's to write? The template is asked; no marker is searched for.

Three ways, the first that applies:
1. the template marks them itself with {% generation %};
2. TRL knows the template and has a twin of it with marks (`trl.chat_template_utils.get_training_chat_template`);
3. the conversation's own shape is rendered with marks in place of its texts, and what stands around them is compared
   with the generation prompt and with the end of a turn.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from helpers.show.words import _
from helpers.template.asking import by_asking
from helpers.template.ends import Changed, Span, end_of_turn
from helpers.template.marks import by_marks, training_template
from helpers.template.policy import Policy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Changed", "answer_spans", "end_of_turn", "refusal", "thoughts", "training_template"]


def answer_spans(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple = (), learn_thinking: str = "auto"
) -> tuple[str, list[tuple[int, int]]]:
    """The rendered text, and the characters [start, end) that the model has to write and is to learn.

    An answer begins where the generation prompt ends and goes through the token that ends its turn. What is learned of
    thoughts: "all"; "last", where thoughts of earlier questions are hidden as they are at use, and their answers only
    read; "none", where thoughts are read and not learned; "auto": all, or last where the template hides earlier ones.
    Raises `Changed` when the template refuses or changes the conversation, so that its answers cannot be found.
    """
    text, spans, learned = _located(tokenizer, messages, tools, learn_thinking)
    kept = [span for span in spans if span.turn in learned]
    return text, [(span.start if learned[span.turn] else max(span.start, span.answer), span.end) for span in kept]


def refusal(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple = (), learn_thinking: str = "auto"
) -> str:
    """Why the template cannot write this conversation; "" when it can."""
    try:
        learned = answer_spans(tokenizer, messages, tools, learn_thinking)[1]
    except ValueError as error:
        return str(error)
    return "" if learned else _("no answer is left to learn, since the chat template hides the thoughts before them")


def thoughts(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple = (), learn_thinking: str = "auto"
) -> list[tuple[int, int]]:
    """The characters [start, end) of every thought that the rendered text shows, its signs included."""
    spans = _located(tokenizer, messages, tools, learn_thinking)[1]
    return [(span.start, span.answer) for span in spans if span.answer >= 0]


def _located(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple, learn_thinking: str
) -> tuple[str, list[Span], dict[int, bool]]:
    """Text, a span for each answer, and the turns to learn: turn -> is its thought learned too?"""
    policy = Policy.of(tokenizer, messages, learn_thinking)
    try:
        text, spans = _text_and_spans(tokenizer, policy, tools)
    except Changed:
        raise
    except Exception as error:  # jinja2's own, or what a template does to a value of another type
        reason = (str(error).strip() or repr(error)).splitlines()[0][:200]
        raise Changed(_("The chat template refuses this conversation: {reason}").format(reason=reason)) from None
    spans = [_with_thought(tokenizer, text, span, policy.shown[span.turn]) for span in spans]
    _require_all_shown(text, spans, policy, tools)
    return text, spans, policy.learned


def _text_and_spans(tokenizer: PreTrainedTokenizerBase, policy: Policy, tools: list | tuple) -> tuple[str, list[Span]]:
    marked = None if policy.as_at_use else training_template(tokenizer)
    if marked:
        text, spans = by_marks(tokenizer, marked, policy.messages, tools)
        if spans is not None:
            return text, spans
    return by_asking(tokenizer, policy.messages, tools)


def _with_thought(tokenizer: PreTrainedTokenizerBase, text: str, span: Span, message: dict) -> Span:
    """`span` with the place where the answer begins, when its thought is shown in it."""
    thought = message.get("reasoning_content", "").strip()
    at = text.find(thought, span.start, span.end) if thought else -1
    if at < 0:
        return span
    at += len(thought)
    answer = message["content"].strip()
    begins = text.find(answer, at, span.end) if answer else -1
    if begins < 0:
        closing = end_of_turn(tokenizer).match(text, at, span.end)
        closing = closing or re.compile(r"\s*</think>\s*").match(text, at, span.end)
        begins = closing.end() if closing else at
    return span._replace(answer=begins)


def _require_all_shown(text: str, spans: list[Span], policy: Policy, tools: list | tuple) -> None:
    """Raises `Changed` when a thought to be learned, a tool call or a tool is not in the text."""
    for span in spans:
        if policy.learned.get(span.turn) is not None and policy.thought(span.turn) and span.answer < 0:
            sentence = _(
                "The chat template changes the text of this conversation: it hides a thought that is to be learned."
            )
            raise Changed(sentence)
        for call in policy.shown[span.turn].get("tool_calls", ()):
            if call["function"]["name"] not in text[span.start : span.end]:
                raise Changed(
                    _("The chat template changes the text of this conversation: it does not show tool calls.")
                )
    for tool in tools:
        name = str(tool.get("function", tool).get("name", ""))
        if name not in text:
            raise Changed(_("The chat template does not show the tools: {name}.").format(name=name[:40]))
