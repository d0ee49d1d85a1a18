"""Messages -> a valid conversation: repaired where the meaning is plain, else Unusable.

A conversation is a system turn or none, then user and assistant in turn, tools answering calls between, and it ends
with the assistant.
"""

import json
import re
import unicodedata
from itertools import pairwise, takewhile
from typing import NamedTuple

from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.turns import message
from helpers.data.values import as_text
from helpers.template.capabilities import split_thinking
from helpers.template.spans import DOCUMENT

ROLE_TOKEN = re.compile(r"<(usr|bot|sys)>")
BLANK_LINES = re.compile(r"^(?:[^\S\n]*\n)+")
LINE_ENDS = re.compile(r"\r*\n|\r")
KEPT = ("tool_calls", "train", "name", "tool_call_id")


class Converted(NamedTuple):
    """One row as messages, and what was mended in it."""

    messages: list[dict]
    repairs: tuple[Repair, ...] = ()
    tools: tuple = ()  # JSON schemas of the tools that the assistant may call


def normalise(turns: list[dict], repairs: list[Repair], tools: tuple = ()) -> Converted:
    """Messages as a valid conversation. Raises Unusable."""
    rest = _in_turn(turns, repairs)
    head = [rest.pop(0)] if rest and rest[0]["role"] == "system" else []
    while rest and rest[0]["role"] != "user":
        rest.pop(0)
        repairs.append(Repair.HEAD_CUT)
    while rest and rest[-1]["role"] != "assistant":
        rest.pop()
        repairs.append(Repair.TAIL_CUT)
    if not rest:
        raise Unusable(Reason.NO_ANSWER)
    _require_answered_calls(rest)
    if not any(turn["role"] == "assistant" and turn.get("train", True) for turn in rest):
        raise Unusable(Reason.NOTHING_LEARNED)
    _require_writable(head + rest, tools)
    return Converted(head + rest, tuple(dict.fromkeys(repairs)), tools)


def texts_of(turn: dict) -> list[str]:
    """All that a turn says: its text, its thought, and its tool calls with their arguments as JSON."""
    calls = [json.dumps(call["function"], ensure_ascii=False) for call in turn.get("tool_calls", [])]
    return [turn["content"], turn.get("reasoning_content", ""), *calls]


def _require_answered_calls(turns: list[dict]) -> None:
    """Raises Unusable for a call that no tool answers, and for a tool's answer that nobody asked for or reads."""
    for before, turn in pairwise(turns):
        called, answered = bool(before.get("tool_calls")), before["role"] == "tool"
        if turn["role"] == "tool" and not (called or answered):
            raise Unusable(Reason.NO_CALL)
        if (called and turn["role"] != "tool") or (answered and turn["role"] == "user"):
            raise Unusable(Reason.NO_RESULT)
    for place, calls in ((place, turn["tool_calls"]) for place, turn in enumerate(turns) if turn.get("tool_calls")):
        answers = takewhile(lambda turn: turn["role"] == "tool", turns[place + 1 :])
        asked, given = {call.get("id") for call in calls}, {answer.get("tool_call_id") for answer in answers}
        if None not in asked | given and asked != given:
            raise Unusable(Reason.NO_RESULT if asked - given else Reason.NO_CALL)


def document(text: object, repairs: list[Repair]) -> Converted:
    """A raw text, which is learned as it stands. Raises Unusable."""
    if not isinstance(text, str) or not (text := _clean(text, repairs)):
        raise Unusable(Reason.TEXT_MISSING)
    messages = [message(DOCUMENT, text)]
    _require_writable(messages, ())
    return Converted(messages, tuple(repairs))


def _in_turn(turns: list[dict], repairs: list[Repair]) -> list[dict]:
    """Cleaned turns: one system turn at the head at most, neighbours of one speaker joined, nothing empty."""
    read: list[dict] = []
    waiting: list[str] = []  # later system texts, for the next user's turn
    for turn in turns:
        role, text = turn["role"], None if isinstance(turn["content"], list) else as_text(turn["content"])
        if text is None:
            raise Unusable(Reason.NOT_TEXT)
        text = _clean(text, repairs, edge=role != "assistant")
        if role == "system":
            _put_system(text, read, waiting, repairs)
            continue
        thought = _clean(turn.get("reasoning_content", ""), repairs)
        text, said = _with_one_thought(text, thought, repairs) if role == "assistant" else (text, text)
        if not (said.strip() or turn.get("tool_calls") or role == "tool"):
            raise Unusable(Reason.EMPTY)
        if waiting and role == "assistant":
            raise Unusable(Reason.SYSTEM_LOST)
        if waiting and role == "user":
            repairs.append(Repair.SYSTEM_LATER)
            text = "\n\n".join([*waiting, text])
            waiting.clear()
        turn = message(role, text, reasoning_content=thought) | {key: turn[key] for key in KEPT if key in turn}
        if read and read[-1]["role"] == role != "tool":
            _join(read[-1], turn)
            repairs.append(Repair.JOINED)
        else:
            read.append(turn)
    if waiting:
        repairs.append(Repair.TAIL_CUT)
    return read


def _with_one_thought(text: str, thought: str, repairs: list[Repair]) -> tuple[str, str]:
    """An answer whose <think>...</think> does not say again what its `thought` says, and what stands behind it.

    Raises Unusable for a thought that does not end, or two that differ.
    """
    split = split_thinking(message("assistant", text))
    said, tagged = split["content"], split.get("reasoning_content", "")
    if said is text and text.lstrip().startswith("<think>"):
        raise Unusable(Reason.OPEN_THOUGHT)
    if not thought or said is text:
        return text, said
    if tagged and tagged.split() != thought.split():
        raise Unusable(Reason.TWO_THOUGHTS)
    repairs.append(Repair.THOUGHT_TWICE)
    return said, said


def _put_system(text: str, read: list[dict], waiting: list[str], repairs: list[Repair]) -> None:
    """A system text to the head; a later one into the user's turn, or among those that wait for the next."""
    if text and read:
        if read[-1]["role"] == "assistant":
            waiting.append(text)
        else:
            repairs.append(Repair.JOINED if read[-1]["role"] == "system" else Repair.SYSTEM_LATER)
            read[-1]["content"] += f"\n\n{text}"
    elif text:
        read.append(message("system", text))


def _clean(text: str, repairs: list[Repair], edge: bool = True) -> str:
    """One kind of line end, no NUL, letters put together, no blanks around (an answer keeps its first indentation)."""
    if "\0" in text:
        text = text.replace("\0", "")
        repairs.append(Repair.NUL)
    if "\r" in (text := text.replace("\r\n", "\n")):
        text = LINE_ENDS.sub("\n", text)
        repairs.append(Repair.RETURN)
    text = text.strip() if edge else BLANK_LINES.sub("", text).rstrip()
    if text[:1] == " " != text[1:2]:
        text = text[1:]  # the blank between a prompt and its completion; more of them are an indentation
    if not unicodedata.is_normalized("NFC", text):  # Korean letters taken apart cost three tokens for one
        text = unicodedata.normalize("NFC", text)
        repairs.append(Repair.NFD)
    return text


def _join(before: dict, turn: dict) -> None:
    """Put `turn` to the end of `before`, of the same speaker. Raises Unusable when that would change the meaning."""
    if before.get("train", True) != turn.get("train", True):
        raise Unusable(Reason.ONE_NOT_LEARNED)
    if turn.get("reasoning_content") or (before.get("tool_calls") and turn["content"]):
        raise Unusable(Reason.BETWEEN)
    before["content"] = "\n\n".join(filter(None, (before["content"], turn["content"])))
    if turn.get("tool_calls"):
        before["tool_calls"] = [*before.get("tool_calls", []), *turn["tool_calls"]]


def _require_writable(messages: list[dict], tools: tuple) -> None:
    """Raises Unusable for a role token in a text, half a character (a lone surrogate), or tools that are not JSON."""
    texts = [turn["content"] for turn in messages] + [turn.get("reasoning_content", "") for turn in messages]
    if any(map(ROLE_TOKEN.search, texts)):
        raise Unusable(Reason.ROLE_TOKEN)
    calls = [turn["tool_calls"] for turn in messages if "tool_calls" in turn]
    try:
        "".join(texts).encode()
        if tools or calls:
            json.dumps([tools, calls], ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise Unusable(Reason.UNICODE) from None
    except (TypeError, ValueError):
        raise Unusable(Reason.TOOL_JSON) from None
