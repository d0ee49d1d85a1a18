"""Thought and answer in what a model wrote, told apart by the signs with which the chat template writes a thought."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from helpers.show.words import _
from helpers.template.capabilities import THINKING_ANSWER, capabilities, normalise, write
from helpers.template.sandbox import ANSWER, USER

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Signs that models use where their template does not show a thought of itself (DeepSeek-R1 cuts it off)
KNOWN = (("<think>", "</think>"), ("<|channel>thought", "<channel|>"), ("[THINK]", "[/THINK]"))
NO_THOUGHT = ("role", "content", "tool_calls")  # fields of a parsed reply that are no thought
SIGN = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


class ParsedReply(NamedTuple):
    """A reply taken apart. `unfinished`: it ended inside its thought, so there is no answer."""

    thought: str
    answer: str
    unfinished: bool


class Signs(NamedTuple):
    """What stands around a thought."""

    opens: str
    closes: str
    again: str = ""  # between its end and what the turn goes on with; "<|start|>assistant" in gpt-oss
    header: str = ""  # before an answer; "<|channel|>final<|message|>" in gpt-oss


def parse_reply(tokenizer: PreTrainedTokenizerBase, text: str, prompt: str) -> ParsedReply:
    """`text`, which a model wrote behind `prompt` (both with their control tokens), as thought and answer.

    Read by the tokenizer's own `response_template` where it can (a broken tool call it may not), else by signs.
    """
    return _by_response_template(tokenizer, text, prompt) or _by_signs(tokenizer, text, prompt)


def _by_response_template(tokenizer: PreTrainedTokenizerBase, text: str, prompt: str) -> ParsedReply | None:
    """By the library's parser; None without a response template, or when it raises."""
    if getattr(tokenizer, "response_template", None) is None:
        return None
    try:
        parser = tokenizer.get_response_parser(prefix=prompt)
        events = [*parser.initial_events, *parser.feed(text)]
        message = parser.finalize()[0]
    except ValueError:
        return None
    thought = _joined([text for name, text in message.items() if name not in NO_THOUGHT and isinstance(text, str)])
    regions = [event for event in events if event["type"] in ("region_open", "region_close")]
    if regions and regions[-1]["type"] == "region_open" and regions[-1]["field"] not in NO_THOUGHT:
        return ParsedReply(thought, "", True)
    rest = _by_signs(tokenizer, message.get("content") or "", "")  # <think> that only the data set knows
    calls = [json.dumps(call.get("function", call), ensure_ascii=False) for call in message.get("tool_calls") or []]
    return ParsedReply(_joined([thought, rest.thought]), _joined([rest.answer, *calls]), rest.unfinished)


def _by_signs(tokenizer: PreTrainedTokenizerBase, text: str, prompt: str) -> ParsedReply:
    thoughts = []
    for signs in thought_signs(tokenizer):
        inside = not thoughts and prompt.rstrip().endswith(signs.opens)
        while inside or text.lstrip().startswith(signs.opens):
            thought, closed, text = text.lstrip().removeprefix(signs.opens).partition(signs.closes)
            thoughts.append(_plain(tokenizer, thought))
            if not closed:
                return ParsedReply(_joined(thoughts), "", True)
            inside, text = False, text.lstrip().removeprefix(signs.again)
        if signs.opens.startswith(text.strip()) and text.strip():  # cut within the sign
            return ParsedReply(_joined(thoughts), "", True)
        text = text.lstrip().removeprefix(signs.header) if signs.header else text
    return ParsedReply(_joined(thoughts), _plain(tokenizer, text), False)


def _joined(texts: list[str]) -> str:
    return "\n".join(filter(None, texts))


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """`text` without control tokens, as `decode(skip_special_tokens=True)` leaves it."""
    return _special(tokenizer).sub("", text).strip()


@functools.lru_cache(maxsize=8)
def _special(tokenizer: PreTrainedTokenizerBase) -> re.Pattern:
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    tokens = sorted(tokens.union(tokenizer.all_special_tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, tokens)))


def opens_a_thought(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """The sign with which `prompt` opens a thought at its end; "" when it does not."""
    return next((signs.opens for signs in thought_signs(tokenizer) if prompt.rstrip().endswith(signs.opens)), "")


def without_open_thought(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template, changed so that its generation prompt ends where an answer without a thought begins.

    What is trained looks the same. Raises ValueError when no thought is opened, or it cannot be taken out.
    """
    template, question = tokenizer.get_chat_template(), normalise(tokenizer, [USER])
    opens = opens_a_thought(tokenizer, write(tokenizer, question, asking=True))
    if not opens:
        sentence = _("chat_template='no-thought': the model's template opens no thought. Leave chat_template empty.")
        raise ValueError(sentence)
    talks = [normalise(tokenizer, [USER, ANSWER] * count) for count in (1, 2)]
    trained = [write(tokenizer, talk) for talk in talks]
    for changed in _without(opens, template):
        try:
            written = [write(tokenizer, talk, template=changed) for talk in talks]
            prompt = write(tokenizer, question, asking=True, template=changed)
        except Exception:  # what was taken out was a part of the template's program
            continue
        if written == trained and trained[0].startswith(prompt):
            return changed
    sentence = _(
        "chat_template='no-thought': {sign} could not be taken out of the end of the generation prompt. Write the "
        "model's template into a file, take it out there, and set chat_template to the file."
    )
    raise ValueError(sentence.format(sign=opens))


def _without(opens: str, template: str) -> Iterator[str]:
    """Templates that may open no thought: with the switch off, and with one place less where the sign is written."""
    yield "{%- set enable_thinking = false %}" + template
    for written in (opens + "\\n", opens + "\n", opens):
        places = [match.start() for match in re.finditer(re.escape(written), template)]
        yield from (template[:place] + template[place + len(written) :] for place in reversed(places))


def thought_signs(tokenizer: PreTrainedTokenizerBase) -> list[Signs]:
    """The template's own signs, then those of KNOWN that its text holds; <think> always, since data sets write it."""
    return _thought_signs(tokenizer, tokenizer.get_chat_template())


@functools.lru_cache(maxsize=64)
def _thought_signs(tokenizer: PreTrainedTokenizerBase, template: str) -> list[Signs]:
    signs = {opens: Signs(opens, closes) for opens, closes in KNOWN if opens in template and closes in template}
    signs = {"<think>": Signs("<think>", "</think>"), **signs}
    if not capabilities(tokenizer).thoughts:
        return list(signs.values())
    own = _of_template(tokenizer)
    signs.pop(own.opens, None)
    return [own, *signs.values()]


def _of_template(tokenizer: PreTrainedTokenizerBase) -> Signs:
    """Signs from the template: the same question asked, answered, and answered behind a thought."""
    asked, plain, full = (
        write(tokenizer, normalise(tokenizer, turns), asking=len(turns) == 1).rpartition("⟦q⟧")[2]
        for turns in ([USER], [USER, ANSWER], [USER, THINKING_ANSWER])
    )
    before, _, rest = full.partition("⟦t⟧")
    between = rest.partition("⟦a⟧")[0].strip()
    opens = before.removeprefix(asked).strip() if before.startswith(asked) else ""
    if not opens:  # the generation prompt has opened it already
        opens = before[[match.start() for match in SIGN.finditer(before)][-1] :].strip()
    sign = SIGN.match(between)
    closes = sign[0] if sign else between
    header = plain[len(asked) :].partition("⟦a⟧")[0].strip()
    if header.startswith(opens) or not plain.startswith(asked):
        header = ""
    return Signs(opens, closes, between[len(closes) :].strip().removesuffix(header).strip(), header)
