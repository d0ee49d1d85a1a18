"""Answers of a template without marks: its own text with ⟦0⟧, ⟦1⟧ in place of the texts, laid over the conversation's."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from helpers.show.words import _
from helpers.template.capabilities import normalise, text_of, write
from helpers.template.ends import Changed, Span, end_of_turn, not_found

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = re.compile("⟦(t?\\d+)⟧")


class Form(NamedTuple):
    """A rendered conversation with ⟦0⟧, ⟦t1⟧, ⟦1⟧ ... in place of its texts and thoughts, and the spans in it."""

    text: str
    spans: list[Span]
    added: str  # what ends the last turn where the template writes it only before the next one (GLM-4.5)


def by_asking(tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple) -> tuple[str, list[Span]]:
    """The conversation's text, and a span for each answer."""
    ready = normalise(tokenizer, messages)
    shape = json.dumps([_shape(message) for message in ready], ensure_ascii=False)
    form = _form(tokenizer, tokenizer.get_chat_template(), shape, json.dumps(list(tools)), date.today())
    text = write(tokenizer, ready, tools=tools) + form.added
    places, seen = _lay_over(form, text, ready)
    _require_each_once(ready, seen)

    def real(place: int) -> int:
        near = max(known for known in places if known <= place)
        return places[near] + place - near

    return text, [Span(span.turn, real(span.start), real(span.end)) for span in form.spans]


def _lay_over(form: Form, text: str, ready: list[dict]) -> tuple[dict[int, int], list[str]]:
    """Characters of the form -> characters of the text, and the names of the marks in their order. Raises `Changed`."""
    texts = {str(turn): text_of(message) for turn, message in enumerate(ready)}
    thoughts = {f"t{turn}": m["reasoning_content"] for turn, m in enumerate(ready) if "reasoning_content" in m}
    texts |= thoughts
    places, seen, position, at = {0: 0}, [], 0, 0
    for match in MARK.finditer(form.text):
        fixed = form.text[position : match.start()]
        after = form.text[match.end() :].partition("⟦")[0]
        whole = texts[match[1]]
        written = next((t for t in (whole, whole.strip()) if text.startswith(fixed + t + after, at)), None)
        if written is None:
            raise not_found()
        places[match.start()], places[match.end()] = at + len(fixed), at + len(fixed) + len(written)
        position, at = match.end(), at + len(fixed) + len(written)
        seen.append(match[1])
    if text[at:] != form.text[position:]:
        raise not_found()
    return places, seen


def _require_each_once(ready: list[dict], seen: list[str]) -> None:
    """Raises `Changed` for a turn that the template leaves out, or writes twice."""
    wanted = [str(turn) for turn, m in enumerate(ready) if text_of(m).strip() and m["role"] != "tool"]
    if [name for name in seen if not name.startswith("t")] != wanted and len(seen) != len(set(seen)):
        raise Changed(_("The chat template changes the text of this conversation: it writes a turn twice."))
    if lost := [name for name in wanted if name not in seen]:
        sentence = _("The chat template changes the text of this conversation: it leaves out turn {number}.")
        raise Changed(sentence.format(number=int(lost[0]) + 1))


def _shape(message: dict) -> list:
    """What the form of a conversation depends on: all of a message but its texts. A tool's answer stays as it is."""
    rest = {name: value for name, value in message.items() if name not in ("content", "reasoning_content")}
    kept = text_of(message) if message["role"] == "tool" else bool(text_of(message).strip())
    return [rest, kept, "reasoning_content" in message, isinstance(message["content"], list)]


@functools.lru_cache(maxsize=256)
def _form(tokenizer: PreTrainedTokenizerBase, template: str, shape: str, tools: str, day: date) -> Form:
    """The form of all conversations of one shape. (`day` is there for the cache: some templates write the date.)"""
    turns = [_marked_turn(place, *kind) for place, kind in enumerate(json.loads(shape))]
    ask = functools.partial(write, tokenizer, tools=json.loads(tools))
    text, spans, added = ask(turns), [], ""
    for turn, message in enumerate(turns):
        if message["role"] == "assistant":
            start, tail = _begin(ask, turns, turn, text)
            length, added = _end(tokenizer, ask, turns, turn, text[tail:])
            spans.append(Span(turn, start, tail + length))
    return Form(text + added, spans, added)


def _marked_turn(place: int, rest: dict, kept: bool | str, thinks: bool, parts: bool) -> dict:
    content = kept if isinstance(kept, str) else f"⟦{place}⟧" if kept else ""
    thought = {"reasoning_content": f"⟦t{place}⟧"} if thinks else {}
    return {**rest, "content": [{"type": "text", "text": content}] if parts else content, **thought}


def _marks_of(turn: int, text: str) -> list[re.Match]:
    return [mark for mark in MARK.finditer(text) if mark[1] in (str(turn), f"t{turn}")]


def _begin(ask: Callable, turns: list[dict], turn: int, text: str) -> tuple[int, int]:
    """Where the model begins to write a turn, and where what stands behind its text begins."""
    asked, here = ask(turns[:turn], asking=True), _marks_of(turn, text)
    if text.startswith(asked):
        start = len(asked)
    elif not here:
        raise not_found()
    else:
        start = here[0].start()
        before = text[:start].rpartition("⟧")[2]
        header = asked.rpartition("⟧")[2]  # what follows the last text when a reply is asked for
        start += len(header) - len(before) if before.startswith(header) else 0
    return start, here[-1].end() if here else start


def _end(tokenizer: PreTrainedTokenizerBase, ask: Callable, turns: list[dict], turn: int, tail: str) -> tuple[int, str]:
    """How much of `tail`, what stands behind a turn's text, still belongs to it; and the token that has to be added.

    What belongs to it is the same when the conversation ends here, goes on, or goes on otherwise.
    """
    alone = ask(turns[: turn + 1])
    own = _marks_of(turn, alone)
    own_tail = alone[own[-1].end() if own else len(ask(turns[:turn], asking=True)) :]
    follow = _followed(ask, turns[: turn + 1])
    common = os.path.commonprefix([tail, own_tail, *([follow] if follow else [])])
    ends = [match.end() for match in end_of_turn(tokenizer).finditer(common)]
    if ends:
        return ends[-1], ""
    if match := end_of_turn(tokenizer).match(tail):  # another one here than elsewhere
        return match.end(), ""
    match = end_of_turn(tokenizer).match(follow) if turn + 1 == len(turns) else None
    return (match.end(), match[0]) if match else (0, "")  # the token with which the next turn begins ends this one


def _followed(ask: Callable, turns: list[dict]) -> str:
    """What stands behind the last turn when a user's follows it; "" where the template does not take one."""
    content = [{"type": "text", "text": "⟦9999⟧"}] if isinstance(turns[-1]["content"], list) else "⟦9999⟧"
    probe = {"role": "tool" if turns[-1].get("tool_calls") else "user", "content": content}
    try:
        longer = ask([*turns, probe])
    except Exception:  # this template takes no such turn here
        return ""
    mine = _marks_of(len(turns) - 1, longer)
    return longer[mine[-1].end() :].partition("⟦")[0] if mine else ""
