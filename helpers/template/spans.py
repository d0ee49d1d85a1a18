"""Which characters of a rendered conversation are the model's to write? The template is asked.

A document is a text without turns, for training on raw text: BOS, the text, EOS, and all of it is learned. For
conversations there are three ways, the first that applies:
1. the template marks them itself with {% generation %};
2. TRL knows the template and has a twin of it with marks (`trl.chat_template_utils.get_training_chat_template`);
3. the conversation's own shape is rendered with marks in place of its texts, and what stands around them is compared
   with the generation prompt and with the end of a turn.
"""

from __future__ import annotations

import functools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.show.words import _
from helpers.template.asking import Changed, Span, by_asking, end_of_turn, not_found
from helpers.template.capabilities import Policy, normalise, split_thinking, text_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DOCUMENT = "document"  # the role of its only message


def is_document(messages: list[dict]) -> bool:
    """True for a raw text in the place of a conversation."""
    return bool(messages) and messages[0]["role"] == DOCUMENT


def write_document(tokenizer: PreTrainedTokenizerBase, messages: list[dict], ends: bool = True) -> str:
    """The text that the model sees, as the base saw its own in pretraining; without `ends` it is to go on."""
    return (tokenizer.bos_token or "") + messages[0]["content"] + (tokenizer.eos_token or "") * ends


def answer_spans(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple = (), learn_thinking: str = "auto"
) -> tuple[str, list[tuple[int, int]]]:
    """The rendered text, and the characters [start, end) that the model has to write and is to learn.

    An answer begins where the generation prompt ends and goes through the token that ends its turn. What is learned of
    thoughts: "all"; "last", where thoughts of earlier questions are hidden as they are at use, and their answers only
    read; "none", where thoughts are read and not learned; "auto": all, or last where the template hides earlier ones.
    Raises `Changed` when the template refuses or changes the conversation, so that its answers cannot be found.
    """
    if is_document(messages):
        text = write_document(tokenizer, messages)
        return text, [(0, len(text))]
    text, spans, learned = _located(tokenizer, messages, tools, learn_thinking)
    kept = [span for span in spans if span.turn in learned]
    return text, [(span.start if learned[span.turn] else max(span.start, span.answer), span.end) for span in kept]


def require_learnable(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple = (), learn_thinking: str = "auto"
) -> None:
    """Raises `Changed` where the template cannot write this conversation, or nothing of it would be learned."""
    if not answer_spans(tokenizer, messages, tools, learn_thinking)[1]:
        raise Changed(_("no answer is left to learn, since the chat template hides the thoughts before them"))


def thoughts(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple = (), learn_thinking: str = "auto"
) -> list[tuple[int, int]]:
    """The characters [start, end) of every thought that the rendered text shows, its signs included."""
    spans = [] if is_document(messages) else _located(tokenizer, messages, tools, learn_thinking)[1]
    return [(span.start, span.answer) for span in spans if span.answer >= 0]


def _located(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple, learn_thinking: str
) -> tuple[str, list[Span], dict[int, bool]]:
    """Text, a span for each answer, and the turns to learn: turn -> is its thought learned too?"""
    policy = Policy.of(tokenizer, messages, learn_thinking)
    marked = None if policy.as_at_use else training_template(tokenizer)
    try:
        text, spans = by_marks(tokenizer, marked, policy.messages, tools) if marked else ("", None)
        if spans is None:
            text, spans = by_asking(tokenizer, policy.messages, tools)
    except Changed:
        raise
    except Exception as error:  # jinja2's own, or what a template does to a value of another type
        reason = (str(error).strip() or repr(error)).splitlines()[0][:200]
        raise Changed(_("The chat template refuses this conversation: {reason}").format(reason=reason)) from None
    spans = [_with_thought(tokenizer, text, span, policy.shown[span.turn]) for span in spans]
    _require_all_shown(text, spans, policy, tools)
    return text, spans, policy.learned


def training_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The template with {% generation %} marks: the tokenizer's own, or TRL's twin of it; None for neither."""
    return _training_template(tokenizer.get_chat_template())


@functools.lru_cache(maxsize=64)
def _training_template(template: str) -> str | None:
    if re.search(r"\{%-?\s*generation\s*-?%\}", template):
        return template
    return _twins().get(template)


@functools.cache
def _twins() -> dict[str, str]:
    """The templates that TRL has a marked twin of -> the twin. (Its own function imports torch and the Trainer.)"""
    twins = {}
    spec = find_spec("trl")
    for path in Path((spec and spec.origin) or "").with_name("chat_templates").glob("*.jinja"):
        twin = path.with_name(f"{path.stem}_training.jinja")
        if twin.is_file():
            twins[path.read_text(encoding="utf-8")] = twin.read_text(encoding="utf-8")
    return twins


def by_marks(
    tokenizer: PreTrainedTokenizerBase, template: str, messages: list[dict], tools: list | tuple
) -> tuple[str, list[Span] | None]:
    """Text and spans from the {% generation %} marks of `template`; None unless it marks each answer once.

    In TRL's twins the white space behind the end of a turn is left out.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    ready = normalise(tokenizer, messages, template)
    how = {"chat_template": template, "return_assistant_tokens_mask": True, **tokenizer.special_tokens_map}
    rendered: Any = render_jinja_template([ready], list(tools) or None, **how)
    (text,), (marked,) = rendered
    answers = [turn for turn, message in enumerate(ready) if message["role"] == "assistant"]
    if len(marked) != len(answers):
        return text, None
    is_twin, spans, position = template != tokenizer.get_chat_template(), [], 0
    for turn, (start, end) in zip(answers, marked, strict=True):
        _require_unchanged(ready, turn, text[position:start], text[start:end])
        if is_twin and end_of_turn(tokenizer).search(text[start:end]):
            end = start + len(text[start:end].rstrip())
        spans.append(Span(turn, start, end))
        position = end
    return text, spans


def _require_unchanged(ready: list[dict], turn: int, before: str, written: str) -> None:
    """Raises `Changed` unless an answer stands in what was `written`, and its question in what stands `before`."""
    question = ready[max(turn - 1, 0)]
    if question["role"] == "user" and text_of(question).strip() not in before:
        raise Changed(_("The chat template changes the text of this conversation: a question is not shown as it is."))
    answer = {**ready[turn], "content": text_of(ready[turn])}
    if answer["content"].strip() not in written and split_thinking(answer)["content"].strip() not in written:
        raise not_found()


def _with_thought(tokenizer: PreTrainedTokenizerBase, text: str, span: Span, message: dict) -> Span:
    """`span` with the place where the answer begins, when its thought is shown in it."""
    thought, answer = message.get("reasoning_content", "").strip(), message["content"].strip()
    at = text.find(thought, span.start, span.end)
    if at < 0 or not thought:
        return span
    at += len(thought)
    begins = text.find(answer, at, span.end)
    if answer and begins >= 0:
        return span._replace(answer=begins)
    for closing in (end_of_turn(tokenizer), re.compile(r"\s*</think>\s*")):
        if match := closing.match(text, at, span.end):
            return span._replace(answer=match.end())
    return span._replace(answer=at)


def _require_all_shown(text: str, spans: list[Span], policy: Policy, tools: list | tuple) -> None:
    """Raises `Changed` when a thought to be learned, a tool call or a tool is not in the text."""
    for span in spans:
        message = policy.shown[span.turn]
        if span.turn in policy.learned and message.get("reasoning_content") and span.answer < 0:
            sentence = _("The chat template changes the text of this conversation: it hides a thought to be learned.")
            raise Changed(sentence)
        calls = [call["function"]["name"] for call in message.get("tool_calls", ())]
        if not all(name in text[span.start : span.end] for name in calls):
            raise Changed(_("The chat template changes the text of this conversation: it does not show tool calls."))
    for tool in tools:
        name = str(tool.get("function", tool).get("name", ""))
        if name not in text:
            raise Changed(_("The chat template does not show the tools: {name}.").format(name=name[:40]))
