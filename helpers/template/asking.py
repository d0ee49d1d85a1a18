"""Answers of a template without marks: its text with ⟦0⟧, ⟦1⟧ for the texts, laid over the conversation's."""

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

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = re.compile("⟦(t?\\d+)⟧")


class Span(NamedTuple):
    """Characters [start, end) of one turn of the model, its end included; the answer begins at `answer`."""

    turn: int
    start: int
    end: int
    answer: int = -1  # -1: no thought is shown


class Changed(ValueError):
    """The chat template refuses or changes this conversation; the sentence says how."""


def not_found() -> Changed:
    """The complaint about a text in which an answer is not what the messages say."""
    return Changed(_("The chat template changes the text of this conversation, so its answers cannot be found."))


@functools.lru_cache(maxsize=8)
def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> re.Pattern:
    """What may end an answer: one of the tokenizer's own control tokens, perhaps after white space."""
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    tokens = sorted((token for token in tokens if token.strip()), key=len, reverse=True)
    return re.compile(r"\s*(" + "|".join(map(re.escape, tokens)) + ")")


class Form(NamedTuple):
    """A rendered conversation with ⟦0⟧, ⟦t1⟧, ⟦1⟧ ... in place of its texts and thoughts, and the spans in it."""

    text: str
    spans: list[Span]
    added: str  # what ends the last turn where the template writes it only before the next one (GLM-4.5)


def by_asking(tokenizer: PreTrainedTokenizerBase, messages: list[dict], tools: list | tuple) -> tuple[str, list[Span]]:
    """The conversation's text, and a span for each answer. Raises `Changed` where it is not what the messages say."""
    ready, kinds = normalise(tokenizer, messages), []
    for message in ready:  # all of a message but its texts; a tool's answer stays as it is
        rest = {name: value for name, value in message.items() if name not in ("content", "reasoning_content")}
        kept = text_of(message) if message["role"] == "tool" else bool(text_of(message).strip())
        kinds.append([rest, kept, "reasoning_content" in message, isinstance(message["content"], list)])
    shape = json.dumps(kinds, ensure_ascii=False)
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
    texts |= {f"t{turn}": m["reasoning_content"] for turn, m in enumerate(ready) if "reasoning_content" in m}
    begin, *pieces = MARK.split(form.text)  # fixed text, the name of a mark, fixed text ...
    names, fixed = pieces[::2], pieces[1::2]
    places, here, there = {0: 0}, len(begin), len(begin)
    same = text.startswith(begin)
    for name, after in zip(names, fixed, strict=True):
        written = texts[name] if text.startswith(texts[name] + after, there) else texts[name].strip()
        same = same and text.startswith(written + after, there)
        places[here], places[here + len(f"⟦{name}⟧")] = there, there + len(written)
        here += len(f"⟦{name}⟧{after}")
        there += len(written + after)
    if not same or there != len(text):
        raise not_found()
    return places, names


def _require_each_once(ready: list[dict], seen: list[str]) -> None:
    """Raises `Changed` for a turn that the template leaves out, or writes twice."""
    wanted = [str(turn) for turn, m in enumerate(ready) if text_of(m).strip() and m["role"] != "tool"]
    turns = [name for name in seen if not name.startswith("t")]
    if turns != wanted and len(seen) > len(set(seen)):
        raise Changed(_("The chat template changes the text of this conversation: it writes a turn twice."))
    if lost := set(wanted).difference(seen):
        sentence = _("The chat template changes the text of this conversation: it leaves out turn {number}.")
        raise Changed(sentence.format(number=min(map(int, lost)) + 1))


@functools.lru_cache(maxsize=256)
def _form(tokenizer: PreTrainedTokenizerBase, template: str, shape: str, tools: str, day: date) -> Form:
    """The form of all conversations of one shape. (`day` is there for the cache: some templates write the date.)"""
    turns = [_marked_turn(place, *kind) for place, kind in enumerate(json.loads(shape))]
    ask = functools.partial(write, tokenizer, tools=json.loads(tools))
    text, spans, added = ask(turns), [], ""
    for turn, message in enumerate(turns):
        if message["role"] == "assistant":
            start, tail = _begin(ask, turns, turn, text)
            length, added = _end(end_of_turn(tokenizer), ask, turns, turn, text[tail:])
            spans.append(Span(turn, start, tail + length))
    return Form(text + added, spans, added)


def _marked_turn(place: int, rest: dict, kept: bool | str, thinks: bool, parts: bool) -> dict:
    text = f"⟦{place}⟧" if kept is True else kept or ""
    turn = {**rest, "content": [{"type": "text", "text": text}] if parts else text}
    if thinks:
        turn["reasoning_content"] = f"⟦t{place}⟧"
    return turn


def _marks_of(turn: int, text: str) -> list[re.Match]:
    return list(re.finditer(f"⟦t?{turn}⟧", text))


def _begin(ask: Callable, turns: list[dict], turn: int, text: str) -> tuple[int, int]:
    """Where the model begins to write a turn, and where what stands behind its text begins."""
    asked, here = ask(turns[:turn], asking=True), _marks_of(turn, text)
    if text.startswith(asked):
        return len(asked), here[-1].end() if here else len(asked)
    if not here:
        raise not_found()
    start = here[0].start()
    before = text[:start].rpartition("⟧")[2]
    header = asked.rpartition("⟧")[2]  # what follows the last text when a reply is asked for
    return start + (len(header) - len(before)) * before.startswith(header), here[-1].end()


def _end(ends: re.Pattern, ask: Callable, turns: list[dict], turn: int, tail: str) -> tuple[int, str]:
    """How much of `tail`, what stands behind a turn's text, still belongs to it; and the token that has to be added.

    What belongs to it is the same when the conversation ends here, goes on, or goes on otherwise.
    """
    alone = ask(turns[: turn + 1])
    own = _marks_of(turn, alone)
    own_tail = alone[own[-1].end() if own else len(ask(turns[:turn], asking=True)) :]
    follow = _followed(ask, turns[: turn + 1])
    matches = list(ends.finditer(os.path.commonprefix([tail, own_tail, follow or tail])))
    if matches:
        return matches[-1].end(), ""
    if match := ends.match(tail):  # another one here than elsewhere
        return match.end(), ""
    match = ends.match(follow) if turn + 1 == len(turns) else None
    return (match.end(), match[0]) if match else (0, "")  # the token with which the next turn begins ends this one


def _followed(ask: Callable, turns: list[dict]) -> str:
    """What stands behind the last turn when a user's follows it; "" where the template does not take one."""
    role = "tool" if turns[-1].get("tool_calls") else "user"
    probe = {"role": role, **_marked_turn(9999, {}, True, False, isinstance(turns[-1]["content"], list))}
    try:
        longer = ask([*turns, probe])
    except Exception:  # this template takes no such turn here
        return ""
    mine = _marks_of(len(turns) - 1, longer)
    return longer[mine[-1].end() :].partition("⟦")[0] if mine else ""
