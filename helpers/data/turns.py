"""Turns as any data set spells them -> a valid conversation: repaired where the meaning is plain, else the reason why not.

A message is {"role", "content"}; an assistant's may also hold "reasoning_content" (its thought), "tool_calls" and
"train": False (read, not learned); a tool's holds what the tool answered. A conversation is a system turn or none,
then user and assistant in turn, tools answering calls between, and it ends with the assistant.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import NamedTuple

from helpers.data.fields import as_text, from_json, meaning, missing, unfit

ROLES = {
    **dict.fromkeys(("user", "human", "usr", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatgpt", "model"), "assistant"),
    **dict.fromkeys(("system", "sys", "input", "developer"), "system"),  # open-korean-instructions calls it "input"
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "assistant"),  # the text is the call, as JSON
}
ROLE_TOKEN = re.compile(r"<(usr|bot|sys)>")
# Fields that belong to the whole conversation, or complete a turn by what cannot be read
BELONGS = ("a part that is no text", "system turn", "earlier turns", "tools", "joined to the question")
TEXT_KEYS = {"type", "text", "annotations", "citations", "cache_control", "index"}  # of a part of a content


class Converted(NamedTuple):
    """One row as messages; [] when it cannot be used, and `dropped` says why."""

    messages: list[dict]
    dropped: str = ""
    repairs: tuple[str, ...] = ()
    tools: tuple = ()  # JSON schemas of the tools that the assistant may call


def listed_turns(turns: object) -> list[dict] | str:
    """A list of {"role", "content"} or {"from", "value"} as messages; the reason when it cannot be read."""
    turns = from_json(turns)
    if isinstance(turns, (list, tuple)) and turns and all(isinstance(turn, str) for turn in turns):
        return [message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(turns)]
    if not isinstance(turns, (list, tuple)) or not all(isinstance(turn, dict) for turn in turns):
        return "the conversation is not a list of turns"
    read = []
    for turn in turns:
        found = _turn(turn)
        if isinstance(found, str):
            return found
        read.append(found)
    return read


def message(role: str, content: object, **more) -> dict:
    return {"role": role, "content": content, **{name: value for name, value in more.items() if value}}


def _turn(turn: dict) -> dict | str:
    """One listed turn as a message, or the reason why it cannot be read."""
    name = str(turn.get("role", turn.get("from", ""))).strip().lower()
    if name not in ROLES:
        return f"a role that is not trained: {name[:40] or '(none)'}"
    role, content = ROLES[name], turn.get("content", turn.get("value"))
    calls, thought, extra = from_json(turn.get("tool_calls")), "", {}
    if name in ("function_call", "tool_call"):
        content, calls = "", from_json(content)
    elif missing(calls) and not missing(turn.get("function_call")):
        calls = from_json(turn["function_call"])
    if not missing(calls) and isinstance(calls := _calls(calls), str):
        return calls
    if isinstance(content, (list, tuple)):
        content = _parts(content)
        if isinstance(content, str):
            return content
        content, thought = content
    for key, value in turn.items():
        means = meaning(key)
        if missing(value) or not means:
            continue
        if means == "thought before the answer":
            if not isinstance(value, str):
                return f"{key} is not text"
            thought = f"{thought}\n\n{value}" if thought else value
        elif (
            means == "joined to the question" and role == "user" and isinstance(value, str) and isinstance(content, str)
        ):
            content = content if value in content else f"{content}\n\n{value}"
        elif means in BELONGS or key == "train_detail":
            return f"{key} of a turn cannot be read"
        elif role == "assistant" and (why := unfit(key, value)):
            if "other than 0 and 1" in why:
                return why
            extra["train"] = False
    if role == "tool":
        content = json.dumps(content, ensure_ascii=False) if isinstance(content, dict) else content
        extra |= {key: turn[key] for key in ("name", "tool_call_id") if isinstance(turn.get(key), str)}
    if calls and missing(content):
        content = ""
    read = message(role, content, tool_calls=calls, reasoning_content=thought)
    return read | extra


def _calls(calls: object) -> list[dict] | str:
    """Tool calls in any spelling as [{"type": "function", "function": {"name", "arguments": {...}}}]."""
    read = []
    for call in calls if isinstance(calls, list) else [calls]:
        inner = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            return "a tool call without a name"
        arguments = from_json(inner.get("arguments", inner.get("parameters")))
        if not missing(arguments) and not isinstance(arguments, dict):
            return "a tool call whose arguments are not JSON"
        known = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        read.append({**known, "type": "function", "function": {"name": inner["name"], "arguments": arguments or {}}})
    return read


def _parts(parts: list) -> tuple[str, str] | str:
    """A content given in parts as (text, thought); the reason when a part is neither."""
    texts, thoughts = [], []
    for part in parts:
        part = {"text": part} if isinstance(part, str) else part
        if not isinstance(part, dict):
            return "a turn is not text"
        kind = part.get("type") or "text"
        if kind in ("thinking", "reasoning") and isinstance(part.get(kind, part.get("text")), str):
            thoughts.append(part.get(kind, part.get("text")))
        elif kind in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            if more := [key for key in part if key not in TEXT_KEYS and not missing(part[key])]:
                return f"a part that is no text: {str(more[0])[:40]}"
            texts.append(part["text"])
        else:
            return f"a part that is no text: {str(kind)[:40]}"
    return "".join(texts), "\n\n".join(thoughts)


def tidy(turns: list[dict], repairs: tuple[str, ...] = (), tools: tuple = ()) -> Converted:
    """Messages as a valid conversation: repaired where the meaning is plain, else dropped with a reason."""
    said, repairs, waiting = [], list(repairs), ""
    for turn in turns:
        role, text = turn["role"], as_text(turn["content"])
        if text is None or isinstance(turn["content"], list):
            return Converted([], "a turn is not text")
        clean = _clean(text, repairs, edge=role != "assistant")
        if role == "system":
            if not clean:
                continue
            if not said:
                said.append(message(role, clean))
                continue
            repairs.append("a later system turn put into the user's turn")
            if said[-1]["role"] == "assistant":
                waiting = f"{waiting}\n\n{clean}".strip()
            else:
                said[-1]["content"] += f"\n\n{clean}"
            continue
        if not clean.strip() and not turn.get("tool_calls") and role != "tool":
            return Converted([], "an empty turn")
        if waiting and role == "user":
            clean, waiting = f"{waiting}\n\n{clean}", ""
        thought = _clean(turn.get("reasoning_content", ""), repairs)
        more = {key: turn[key] for key in ("tool_calls", "train", "name", "tool_call_id") if key in turn}
        turn = message(role, clean, reasoning_content=thought) | more
        if said and said[-1]["role"] == role != "tool":
            if why := _join(said[-1], turn):
                return Converted([], why)
            repairs.append("two turns of one speaker joined")
        else:
            said.append(turn)
    return _checked(said, repairs, tools)


def _clean(text: str, repairs: list[str], edge: bool = True) -> str:
    """One kind of line end, no blanks around (an answer keeps those of its first line), letters put together."""
    clean = text.replace("\r\n", "\n")
    clean = clean.strip() if edge else re.sub(r"^(?:[^\S\n]*\n)+", "", clean).rstrip()
    if clean[:1] == " " != clean[1:2]:
        clean = clean[1:]  # the blank between a prompt and its completion; more of them are an indentation
    if not unicodedata.is_normalized("NFC", clean):  # Korean letters taken apart cost three tokens for one
        clean = unicodedata.normalize("NFC", clean)
        repairs.append("taken-apart letters (NFD) put together")
    return clean


def _join(before: dict, turn: dict) -> str:
    """Put `turn` to the end of `before`, of the same speaker; the reason when that would change the meaning."""
    if before.get("train", True) != turn.get("train", True):
        return "two turns of one speaker, of which one is not to be learned"
    if turn.get("reasoning_content") or (before.get("tool_calls") and turn["content"]):
        return "two answers in a row, with a thought or a tool call between them"
    before["content"] = "\n\n".join(text for text in (before["content"], turn["content"]) if text)
    if turn.get("tool_calls"):
        before["tool_calls"] = [*before.get("tool_calls", []), *turn["tool_calls"]]
    return ""


def _checked(said: list[dict], repairs: list[str], tools: tuple) -> Converted:
    """The last step of `tidy`: begin with the user, end with the assistant, no role token left."""
    head = [said.pop(0)] if said and said[0]["role"] == "system" else []
    while said and said[0]["role"] != "user":
        said.pop(0)
        repairs.append("answer before the first question cut off")
    while said and said[-1]["role"] != "assistant":
        said.pop()
        repairs.append("question without an answer cut off")
    if not said:
        return Converted([], "no question followed by an answer")
    for before, turn in zip(said, said[1:], strict=False):
        called = bool(before.get("tool_calls"))
        if turn["role"] == "tool" and not (called or before["role"] == "tool"):
            return Converted([], "a tool's answer without a call")
        if called and turn["role"] != "tool" or (before["role"] == "tool" and turn["role"] == "user"):
            return Converted([], "a tool call or a tool's answer that nobody answers")
    if not any(turn.get("train", True) for turn in said if turn["role"] == "assistant"):
        return Converted([], "no answer in it is to be learned")
    texts = [turn[key] for turn in head + said for key in ("content", "reasoning_content") if key in turn]
    if any(map(ROLE_TOKEN.search, texts)):
        return Converted([], "a role token inside the text")
    calls = [turn["tool_calls"] for turn in said if "tool_calls" in turn]
    try:
        "".join(texts).encode()
        if tools or calls:
            json.dumps([tools, calls], ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:  # half a character (a lone surrogate), which no file can hold
        return Converted([], "broken Unicode")
    except (TypeError, ValueError):
        return Converted([], "a tool that is not JSON")
    return Converted(head + said, "", tuple(dict.fromkeys(repairs)), tools)
