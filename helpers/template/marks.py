"""Answers by marks: {% generation %} in the template itself, or in the twin of it that TRL ships."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.show.words import _
from helpers.template.capabilities import normalise, split_thinking, text_of
from helpers.template.ends import Changed, Span, end_of_turn, not_found

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def training_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The template with {% generation %} marks: the tokenizer's own, or TRL's twin of it; None where there is neither."""
    return _training_template(tokenizer.get_chat_template())


@functools.lru_cache(maxsize=64)
def _training_template(template: str) -> str | None:
    if has_generation_marks(template):
        return template
    for original in _twins():
        if original.read_text(encoding="utf-8") == template:
            return original.with_name(f"{original.stem}_training.jinja").read_text(encoding="utf-8")
    return None


@functools.cache
def _twins() -> list[Path]:
    """TRL's files of the templates that it has a marked twin of. (Its function for this imports torch and the Trainer.)"""
    folder = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
    return [path for path in sorted(folder.glob("*.jinja")) if path.with_name(f"{path.stem}_training.jinja").exists()]


def has_generation_marks(template: str) -> bool:
    """True when the template marks what the model writes with {% generation %} ... {% endgeneration %}."""
    return re.search(r"\{%-?\s*generation\s*-?%\}", template) is not None


def by_marks(
    tokenizer: PreTrainedTokenizerBase, template: str, messages: list[dict], tools: list | tuple
) -> tuple[str, list[Span] | None]:
    """Text and spans from the {% generation %} marks of `template`; None for spans when it does not mark each answer once.

    In TRL's twins the white space behind the end of a turn is left out.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    ready = normalise(tokenizer, messages, template)
    texts, marked = render_jinja_template(
        [ready],
        list(tools) or None,
        chat_template=template,
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    text, answers = texts[0], [turn for turn, message in enumerate(ready) if message["role"] == "assistant"]
    if len(marked[0]) != len(answers):
        return text, None
    is_twin, spans, position = template != tokenizer.get_chat_template(), [], 0
    for turn, (start, end) in zip(answers, marked[0], strict=True):
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
        sentence = _("The chat template changes the text of this conversation: a question is not shown as it is.")
        raise Changed(sentence)
    answer = {**ready[turn], "content": text_of(ready[turn])}
    if answer["content"].strip() not in written and split_thinking(answer)["content"].strip() not in written:
        raise not_found()
