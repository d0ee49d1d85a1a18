"""How a chat template wants its messages: what it takes, what it shows, and what it hides.

Every answer comes from the template itself, asked once with marks in place of the texts.
"""

from __future__ import annotations

import functools
import json
import re
from typing import NamedTuple

THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.S)  # a thought written into an answer, as most data sets do


class Taste(NamedTuple):
    """What one template takes and shows."""

    parts: bool  # content is a list of parts, not a text
    system: bool  # a system turn is shown
    thoughts: str  # where the thought before the last answer is shown from: "field" (reasoning_content), "text", or ""
    earlier_thoughts: bool  # that before an earlier answer is shown too
    arguments: type  # of a tool call: dict, or str (JSON)


def taste(tokenizer, template: str | None = None) -> Taste:
    """The taste of `template` (default: the tokenizer's own)."""
    return _taste(tokenizer, template or tokenizer.get_chat_template())


@functools.lru_cache(maxsize=64)
def _taste(tokenizer, template: str) -> Taste:
    user, answer = {"role": "user", "content": "⟦q⟧"}, {"role": "assistant", "content": "⟦a⟧"}
    thinks = {**answer, "reasoning_content": "⟦t⟧"}

    def shown(messages: list[dict], parts: bool) -> str:
        try:
            return write(tokenizer, with_parts(messages) if parts else messages, template=template)
        except Exception:  # a template may fail in any way on what it does not take
            return ""

    parts = "⟦q⟧" not in shown([user, answer], False) and "⟦q⟧" in shown([user, answer], True)
    system = "⟦s⟧" in shown([{"role": "system", "content": "⟦s⟧"}, user], parts)
    thoughts = next(
        (way for way, said in (("field", thinks), ("text", together(thinks))) if "⟦t⟧" in shown([user, said], parts)),
        "",
    )
    said = thinks if thoughts == "field" else together(thinks)
    earlier = shown([user, said, user, said], parts).count("⟦t⟧") == 2
    call = {"role": "assistant", "content": "", "tool_calls": [_call({"x": "y"})]}
    kind = dict if shown([user, call], parts) else str
    return Taste(parts, system, thoughts, earlier, kind)


def write(tokenizer, messages: list[dict], asking: bool = False, tools=None, template: str | None = None) -> str:
    """What the template writes, nothing changed before."""
    return tokenizer.apply_chat_template(
        messages,
        tools=list(tools) if tools else None,
        tokenize=False,
        add_generation_prompt=asking,
        chat_template=template,
    )


def shaped(tokenizer, messages: list[dict], template: str | None = None) -> list[dict]:
    """`messages` as the template takes them: system folded in, thoughts where it reads them, contents in parts."""
    likes = taste(tokenizer, template)
    messages = messages if likes.system else folded(messages)
    if not any(
        "reasoning_content" in m or "tool_calls" in m or "train" in m or "<think>" in (m["content"] or "")
        for m in messages
    ):
        return with_parts(messages) if likes.parts else messages
    done = []
    for message in messages:
        message = {name: value for name, value in message.items() if name != "train"}
        if message["role"] == "assistant":
            message = apart(message) if likes.thoughts == "field" else together(message)
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [_as(call, likes.arguments) for call in calls]
        done.append(message)
    return with_parts(done) if likes.parts else done


def folded(messages: list[dict]) -> list[dict]:
    """`messages` with the system turn put before the first user turn."""
    if messages[0]["role"] != "system" or len(messages) == 1:
        return messages
    system, user, *rest = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def apart(message: dict) -> dict:
    """An answer that begins with <think>...</think>, with that thought in the field "reasoning_content" instead."""
    found = THOUGHT.match(message["content"]) if "reasoning_content" not in message else None
    if not found:
        return message
    thought = {"reasoning_content": found[1].strip()} if found[1].strip() else {}
    return {**message, "content": message["content"][found.end() :], **thought}


def together(message: dict) -> dict:
    """An answer with its thought written before it, for templates that know no field for it."""
    if not message.get("reasoning_content"):
        return message
    rest = {name: value for name, value in message.items() if name != "reasoning_content"}
    return {**rest, "content": f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"}


def with_parts(messages: list[dict]) -> list[dict]:
    return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]


def _call(arguments: object) -> dict:
    return {"id": "call00000", "type": "function", "function": {"name": "f", "arguments": arguments}}


def _as(call: dict, kind: type) -> dict:
    arguments = call["function"]["arguments"]
    if isinstance(arguments, dict) and kind is str:
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {**call, "function": {**call["function"], "arguments": arguments}}
