"""Which characters of a rendered conversation are the model's to write? The template is asked; no marker is searched for.

Three ways, the first that applies:
1. the template marks them itself with {% generation %};
2. TRL knows the template and has a twin of it with marks (`trl.chat_template_utils.get_training_chat_template`);
3. the conversation's own shape is rendered with marks in place of its texts, and what stands around them is compared
   with the generation prompt and with the end of a turn.
"""

from __future__ import annotations

import functools
import json
import os
import re
from datetime import date
from typing import NamedTuple

from helpers.template.capabilities import apart, shaped, taste, write

MARK = re.compile("⟦(t?\\d+)⟧")


class Span(NamedTuple):
    """Characters [start, end) of one answer, its end of turn included; behind its thought the answer begins at `said`."""

    turn: int
    start: int
    end: int
    said: int = -1  # -1: no thought is shown


class Changed(ValueError):
    """The chat template refuses or changes this conversation; the sentence says how."""


def answer_spans(
    tokenizer, messages: list[dict], tools=(), learn_thinking: str = "auto"
) -> tuple[str, list[tuple[int, int]]]:
    """The rendered text, and the characters [start, end) that the model has to write and is to learn.

    An answer begins where the generation prompt ends and goes through the token that ends its turn. What is learned of
    thoughts: "all"; "last", where thoughts of earlier questions are hidden as they are at use, and their answers only
    read; "none", where thoughts are read and not learned; "auto": all, or last where the template hides earlier ones.
    Raises ValueError when the template refuses or changes the conversation, so that its answers cannot be found.
    """
    text, spans, kept = _read_and_learned(tokenizer, messages, tools, learn_thinking)
    learned = []
    for span in spans:
        if span.turn in kept:
            learned.append((span.start if kept[span.turn] else max(span.start, span.said), span.end))
    return text, learned


def refusal(tokenizer, messages: list[dict], tools=(), learn_thinking: str = "auto") -> str:
    """Why the template cannot write this conversation; "" when it can."""
    try:
        learned = answer_spans(tokenizer, messages, tools, learn_thinking)[1]
        return "" if learned else "no answer is left to learn, since the chat template hides the thoughts before them"
    except ValueError as error:
        return str(error)


def thoughts(tokenizer, messages: list[dict], tools=(), learn_thinking: str = "auto") -> list[tuple[int, int]]:
    """The characters [start, end) of every thought that the rendered text shows, its signs included."""
    spans = _read_and_learned(tokenizer, messages, tools, learn_thinking)[1]
    return [(span.start, span.said) for span in spans if span.said >= 0]


def _read_and_learned(tokenizer, messages, tools, learn_thinking) -> tuple[str, list[Span], dict[int, bool]]:
    """Text, spans, and the turns to learn: turn -> is its thought learned too?"""
    shown = [apart(message) if message["role"] == "assistant" else message for message in messages]
    shown = shown[1:] if shown[0]["role"] == "system" and len(shown) > 1 and not taste(tokenizer).system else shown
    answers = [i for i, message in enumerate(shown) if message["role"] == "assistant"]
    thinking = {i for i in answers if "reasoning_content" in shown[i]}
    kept = {i: True for i in answers if shown[i].get("train", True)}
    asked = max((i for i, message in enumerate(shown) if message["role"] == "user"), default=0)
    earlier, likes, marked = {i for i in thinking if i < asked}, taste(tokenizer), training_template(tokenizer)
    if earlier and (learn_thinking == "last" or (learn_thinking == "auto" and not likes.earlier_thoughts)):
        if likes.earlier_thoughts:
            kept |= {i: False for i in earlier & kept.keys()}
        else:
            kept = {i: True for i in kept if i > asked}
            if likes.thoughts:
                marked = None  # the template's own text, which is that of use
            else:
                gone = len(messages) - len(shown)
                messages = [_forget(m) if i - gone in earlier else m for i, m in enumerate(messages)]
    if learn_thinking == "none":
        kept |= {i: False for i in thinking & kept.keys()}
    try:
        text, spans = _by_template_marks(tokenizer, marked, messages, tools) if marked else (None, None)
        if spans is None:
            text, spans = _by_asking(tokenizer, messages, tools)
    except Changed:
        raise
    except Exception as error:  # jinja2's own, or what a template does to a value of another type
        raise Changed(
            f"The chat template refuses this conversation: {(str(error).strip() or repr(error)).splitlines()[0][:200]}"
        ) from None
    spans = [_with_thought(tokenizer, text, span, shown[span.turn]) for span in spans]
    for span in spans:
        if span.turn in kept and span.turn in thinking and span.said < 0:
            raise Changed(
                "The chat template changes the text of this conversation: it hides a thought that is to be learned."
            )
        for call in shown[span.turn].get("tool_calls", ()):
            if call["function"]["name"] not in text[span.start : span.end]:
                raise Changed("The chat template changes the text of this conversation: it does not show tool calls.")
    if lost := [tool for tool in tools if str(tool.get("function", tool).get("name", "")) not in text]:
        raise Changed(
            f"The chat template does not show the tools: {str(lost[0].get('function', lost[0]).get('name'))[:40]}."
        )
    return text, spans, kept


def _forget(message: dict) -> dict:
    return {name: value for name, value in apart(message).items() if name != "reasoning_content"}


def _with_thought(tokenizer, text: str, span: Span, message: dict) -> Span:
    """`span` with the place where the answer begins, when its thought is shown in it."""
    thought = message.get("reasoning_content", "").strip()
    at = text.find(thought, span.start, span.end) if thought else -1
    if at < 0:
        return span
    at += len(thought)
    answer = message["content"].strip()
    said = text.find(answer, at, span.end) if answer else -1
    if said < 0:
        closing = end_of_turn(tokenizer).match(text, at, span.end) or re.compile(r"\s*</think>\s*").match(
            text, at, span.end
        )
        said = closing.end() if closing else at
    return span._replace(said=said)


def training_template(tokenizer) -> str | None:
    """The template with {% generation %} marks: the tokenizer's own, or TRL's twin of it; None where there is neither."""
    return _training_template(tokenizer, tokenizer.get_chat_template())


@functools.lru_cache(maxsize=64)
def _training_template(tokenizer, template: str) -> str | None:
    if has_generation_marks(template):
        return template
    for original in _twins():
        if original.read_text(encoding="utf-8") == template:
            return original.with_name(f"{original.stem}_training.jinja").read_text(encoding="utf-8")
    return None


@functools.cache
def _twins() -> list:
    """TRL's files of the templates that it has a marked twin of. (Its function for this imports torch and the Trainer.)"""
    import importlib.util
    from pathlib import Path

    folder = Path(os.path.dirname(importlib.util.find_spec("trl").origin)) / "chat_templates"
    return [path for path in sorted(folder.glob("*.jinja")) if path.with_name(f"{path.stem}_training.jinja").exists()]


def has_generation_marks(template: str) -> bool:
    """True when the template marks what the model writes with {% generation %} ... {% endgeneration %}."""
    return re.search(r"\{%-?\s*generation\s*-?%\}", template) is not None


def _by_template_marks(tokenizer, template: str, messages: list[dict], tools) -> tuple[str, list[Span] | None]:
    """Text and spans from the {% generation %} marks of `template`; None for spans when it does not mark each answer once.

    In TRL's twins the white space behind the end of a turn is left out.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    ready = shaped(tokenizer, messages, template)
    texts, marked = render_jinja_template(
        [ready],
        list(tools) or None,
        chat_template=template,
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    text, marked, spans = texts[0], list(marked[0]), []
    answers = [i for i, message in enumerate(ready) if message["role"] == "assistant"]
    if len(marked) != len(answers):
        return text, None
    position = 0
    for turn, (start, end) in zip(answers, marked, strict=True):
        asked = ready[max(turn - 1, 0)]
        if asked["role"] == "user" and _text(asked).strip() not in text[position:start]:
            raise Changed("The chat template changes the text of this conversation: a question is not shown as it is.")
        if (
            _text(ready[turn]).strip() not in text[start:end]
            and apart({**ready[turn], "content": _text(ready[turn])})["content"].strip() not in text[start:end]
        ):
            raise Changed("The chat template changes the text of this conversation, so its answers cannot be found.")
        if template != tokenizer.get_chat_template() and end_of_turn(tokenizer).search(text[start:end]):
            end = start + len(text[start:end].rstrip())
        spans.append(Span(turn, start, end))
        position = end
    return text, spans


def _text(message: dict) -> str:
    return message["content"] if isinstance(message["content"], str) else message["content"][0]["text"]


def _by_asking(tokenizer, messages: list[dict], tools) -> tuple[str, list[Span]]:
    """Text and spans of a template without marks: its own text with marks, laid over the conversation's."""
    ready = shaped(tokenizer, messages)
    text = write(tokenizer, ready, tools=tools)
    shape = json.dumps([_shape(message) for message in ready], ensure_ascii=False)
    form = _form(tokenizer, tokenizer.get_chat_template(), shape, json.dumps(list(tools)), date.today())
    text += form.added
    texts = {str(i): _text(message) for i, message in enumerate(ready)}
    texts |= {
        f"t{i}": message["reasoning_content"] for i, message in enumerate(ready) if "reasoning_content" in message
    }
    place, position, at = {0: 0}, 0, 0  # characters of the form -> characters of the text
    seen = []
    for match in MARK.finditer(form.text):
        fixed = form.text[position : match.start()]
        after = form.text[match.end() :].partition("⟦")[0]
        said = next(
            (t for t in (texts[match[1]], texts[match[1]].strip()) if text.startswith(fixed + t + after, at)), None
        )
        if said is None:
            raise Changed("The chat template changes the text of this conversation, so its answers cannot be found.")
        place[match.start()], place[match.end()] = at + len(fixed), at + len(fixed) + len(said)
        position, at = match.end(), at + len(fixed) + len(said)
        seen.append(match[1])
    wanted = [
        name for name in map(str, range(len(ready))) if texts[name].strip() and ready[int(name)]["role"] != "tool"
    ]
    if [name for name in seen if not name.startswith("t")] != wanted and sorted(seen, key=str) != sorted(
        {*seen}, key=str
    ):
        raise Changed("The chat template changes the text of this conversation: it writes a turn twice.")
    if lost := [name for name in wanted if name not in seen]:
        raise Changed(
            f"The chat template changes the text of this conversation: it leaves out turn {int(lost[0]) + 1}."
        )
    if text[at:] != form.text[position:]:
        raise Changed("The chat template changes the text of this conversation, so its answers cannot be found.")

    def real(place_in_form: int) -> int:
        near = max(known for known in place if known <= place_in_form)
        return place[near] + place_in_form - near

    return text, [Span(span.turn, real(span.start), real(span.end)) for span in form.spans]


class Form(NamedTuple):
    """A rendered conversation with ⟦0⟧, ⟦t1⟧, ⟦1⟧ ... in place of its texts and thoughts, and the spans in it."""

    text: str
    spans: list[Span]
    added: str  # what ends the last turn where the template writes it only before the next one (GLM-4.5)


def _shape(message: dict) -> list:
    """What the form of a conversation depends on: all of a message but its texts. A tool's answer stays as it is."""
    rest = {name: value for name, value in message.items() if name not in ("content", "reasoning_content")}
    kept = _text(message) if message["role"] == "tool" else bool(_text(message).strip())
    return [rest, kept, "reasoning_content" in message, isinstance(message["content"], list)]


@functools.lru_cache(maxsize=256)
def _form(tokenizer, template: str, shape: str, tools: str, day: date) -> Form:
    """The form of all conversations of one shape. (`day` is there for the cache: some templates write the date.)"""
    turns = []
    for i, (rest, kept, thinks, parts) in enumerate(json.loads(shape)):
        content = kept if isinstance(kept, str) else f"⟦{i}⟧" if kept else ""
        turns.append({**rest, "content": [{"type": "text", "text": content}] if parts else content})
        if thinks:
            turns[-1]["reasoning_content"] = f"⟦t{i}⟧"
    ask = functools.partial(write, tokenizer, tools=json.loads(tools))
    text, spans, added = ask(turns), [], ""
    for i, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        asked, alone = ask(turns[:i], asking=True), ask(turns[: i + 1])
        here, own = [[m for m in MARK.finditer(t) if m[1] in (str(i), f"t{i}")] for t in (text, alone)]
        start = _start(text, asked, here)
        tail = text[here[-1].end() if here else start :]
        own_tail = alone[own[-1].end() if own else len(asked) :]
        follow = _followed(ask, turns[: i + 1])
        common = os.path.commonprefix([tail, own_tail, *([follow] if follow else [])])
        ends = [m.end() for m in end_of_turn(tokenizer).finditer(common)]
        if not ends and (match := end_of_turn(tokenizer).match(tail)):  # another one here than elsewhere
            ends = [match.end()]
        elif not ends and i + 1 == len(turns) and (match := end_of_turn(tokenizer).match(follow)):
            added, ends = match[0], [match.end()]  # the token with which the next turn begins ends this one
        spans.append(Span(i, start, (here[-1].end() if here else start) + (ends[-1] if ends else 0)))
    return Form(text + added, spans, added)


def _start(text: str, asked: str, here: list) -> int:
    """Where the model begins to write: behind the generation prompt, else at the first text of its turn."""
    if text.startswith(asked):
        return len(asked)
    if not here:
        raise Changed("The chat template changes the text of this conversation, so its answers cannot be found.")
    first = here[0].start()
    before = text[:first].rpartition("⟧")[2]
    header = asked.rpartition("⟧")[2]  # what follows the last text when a reply is asked for
    return first - len(before) + len(header) if before.startswith(header) else first


def _followed(ask, turns: list[dict]) -> str:
    """What stands behind the last turn when a user's follows it; "" where the template does not take one."""
    probe = {"role": "user", "content": "⟦9999⟧"}
    if isinstance(turns[-1]["content"], list):
        probe["content"] = [{"type": "text", "text": "⟦9999⟧"}]
    if turns[-1].get("tool_calls"):
        probe = {**probe, "role": "tool"}
    try:
        longer = ask([*turns, probe])
    except Exception:  # this template takes no such turn here
        return ""
    mine = [m for m in MARK.finditer(longer) if m[1] in (str(len(turns) - 1), f"t{len(turns) - 1}")]
    return longer[mine[-1].end() :].partition("⟦")[0] if mine else ""


def end_of_turn(tokenizer) -> re.Pattern:
    """What may end an answer: one of the tokenizer's own control tokens, perhaps after white space."""
    return _end_of_turn(tokenizer)


@functools.lru_cache(maxsize=8)
def _end_of_turn(tokenizer) -> re.Pattern:
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    tokens = sorted((t for t in tokens if t.strip()), key=len, reverse=True)
    return re.compile(r"\s*(" + "|".join(map(re.escape, tokens)) + ")")
