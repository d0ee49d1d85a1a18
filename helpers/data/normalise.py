"""Messages -> a valid conversation: repaired where the meaning is plain, else Unusable.

A conversation is a system turn or none, then user and assistant in turn, tools answering calls between, and it ends
with
the assistant.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import NamedTuple

from helpers.data.columns import as_text
from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.turns import message

ROLE_TOKEN = re.compile(r"<(usr|bot|sys)>")
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
    _require_tools_in_order(rest)
    if not any(turn.get("train", True) for turn in rest if turn["role"] == "assistant"):
        raise Unusable(Reason.NOTHING_LEARNED)
    _require_writable(head + rest, tools)
    return Converted(head + rest, tuple(dict.fromkeys(repairs)), tools)


def _in_turn(turns: list[dict], repairs: list[Repair]) -> list[dict]:
    """Cleaned turns: one system turn at the head at most, neighbours of one speaker joined, nothing empty."""
    read, waiting = [], ""
    for turn in turns:
        role, text = turn["role"], turn["content"]
        text = None if isinstance(text, list) else as_text(text)
        if text is None:
            raise Unusable(Reason.NOT_TEXT)
        text = _clean(text, repairs, edge=role != "assistant")
        if role == "system":
            waiting = _later_system(read, text, waiting, repairs)
            continue
        if not text.strip() and not turn.get("tool_calls") and role != "tool":
            raise Unusable(Reason.EMPTY)
        if waiting and role == "user":
            text, waiting = f"{waiting}\n\n{text}", ""
        thought = _clean(turn.get("reasoning_content", ""), repairs)
        turn = message(role, text, reasoning_content=thought) | {key: turn[key] for key in KEPT if key in turn}
        if read and read[-1]["role"] == role != "tool":
            _join(read[-1], turn)
            repairs.append(Repair.JOINED)
        else:
            read.append(turn)
    return read


def _later_system(read: list[dict], text: str, waiting: str, repairs: list[Repair]) -> str:
    """Put a system turn to the head, or into the user's turn; gives what waits for the next user's turn."""
    if not text:
        return waiting
    if not read:
        read.append(message("system", text))
        return waiting
    repairs.append(Repair.SYSTEM_LATER)
    if read[-1]["role"] == "assistant":
        return f"{waiting}\n\n{text}".strip()
    read[-1]["content"] += f"\n\n{text}"
    return waiting


def _clean(text: str, repairs: list[Repair], edge: bool = True) -> str:
    """One kind of line end, no blanks around (an answer keeps those of its first line), no NUL, letters put
    together."""
    if "\0" in text:
        text = text.replace("\0", "")
        repairs.append(Repair.NUL)
    text = text.replace("\r\n", "\n")
    text = text.strip() if edge else re.sub(r"^(?:[^\S\n]*\n)+", "", text).rstrip()
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
    before["content"] = "\n\n".join(text for text in (before["content"], turn["content"]) if text)
    if turn.get("tool_calls"):
        before["tool_calls"] = [*before.get("tool_calls", []), *turn["tool_calls"]]


def _require_tools_in_order(turns: list[dict]) -> None:
    for before, turn in zip(turns, turns[1:], strict=False):
        called, answered = bool(before.get("tool_calls")), before["role"] == "tool"
        if turn["role"] == "tool":
            if not called and not answered:
                raise Unusable(Reason.NO_CALL)
        elif called or (answered and turn["role"] == "user"):
            raise Unusable(Reason.NO_RESULT)


def _require_writable(messages: list[dict], tools: tuple) -> None:
    """Raises Unusable for a role token in a text, half a character (a lone surrogate), or tools that are not JSON."""
    texts = [turn[key] for turn in messages for key in ("content", "reasoning_content") if key in turn]
    whole = "".join(texts)
    if ROLE_TOKEN.search(whole) and any(map(ROLE_TOKEN.search, texts)):
        raise Unusable(Reason.ROLE_TOKEN)
    calls = [turn["tool_calls"] for turn in messages if "tool_calls" in turn]
    try:
        whole.encode()
        if tools or calls:
            json.dumps([tools, calls], ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise Unusable(Reason.UNICODE) from None
    except (TypeError, ValueError):
        raise Unusable(Reason.TOOL_JSON) from None
