"""`<usr> ...\\n<bot> ...`, the text format of open-korean-instructions, with the traps that its sources left in it."""

from __future__ import annotations

import re

from helpers.data.turns import ROLES, message

LINE_START = re.compile(r"^[ \t]*<(usr|bot|sys)>", re.M)


def parse_text(text: str, source: str) -> tuple[list[dict], tuple[str, ...]] | str:
    """(messages, what was mended in them), or the reason why the text cannot be read."""
    repairs, text = [], text.replace("\r\n", "\n")
    if "korquad" in source:  # its maker replaced "A: " by "<usr> " and "B: " by "<bot> " everywhere, and missed "A :"
        if re.search(r"^[C-Z] ?: ", text, re.M):
            return "a third speaker"
        restored = re.sub(r"(?<=\S)<usr> ", "A: ", re.sub(r"(?<=\S)<bot> ", "B: ", text))
        marked = re.sub(r"^A ?: ?", "<usr> ", re.sub(r"^B ?: ?", "<bot> ", restored, flags=re.M), flags=re.M)
        repairs += ["'DN<usr> ' put back to 'DNA: '"] * (restored != text)
        repairs += ["'A:' and 'B:' read as roles"] * (marked != restored)
        text = marked
    elif "<bot>" in text and not re.search(r"^[ \t]*<bot>", text, re.M):
        text, count = re.subn(r"\\?n(?=<(?:usr|bot|sys)>)", "\n", text)
        repairs += ["'n<bot>' read as a new line and <bot>"] * bool(count)
    before, *parts = LINE_START.split(text)
    if not parts:
        return "no role token at the start of a line"
    if before.strip():
        return "text before the first role token"
    return [message(ROLES[role], said) for role, said in zip(parts[::2], parts[1::2], strict=True)], tuple(repairs)
