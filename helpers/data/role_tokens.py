"""`<usr> ...\\n<bot> ...`, the text format of open-korean-instructions, with the traps that its sources left in it."""

from __future__ import annotations

import re

from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.turns import ROLES, message

LINE_START = re.compile(r"^[ \t]*<(usr|bot|sys)>", re.M)


def parse_text(text: str, source: str, repairs: list[Repair]) -> list[dict]:
    """The turns of one text; what is mended is appended to `repairs`. Raises Unusable."""
    text = text.replace("\r\n", "\n")
    if "korquad" in source:
        text = _korquad(text, repairs)
    elif "<bot>" in text and not re.search(r"^[ \t]*<bot>", text, re.M):
        text, count = re.subn(r"\\?n(?=<(?:usr|bot|sys)>)", "\n", text)
        repairs += [Repair.N_BOT] * bool(count)
    before, *parts = LINE_START.split(text)
    if not parts:
        raise Unusable(Reason.NO_ROLE_TOKEN)
    if before.strip():
        raise Unusable(Reason.TEXT_BEFORE)
    return [message(ROLES[role], said) for role, said in zip(parts[::2], parts[1::2], strict=True)]


def _korquad(text: str, repairs: list[Repair]) -> str:
    """Its maker replaced "A: " by "<usr> " and "B: " by "<bot> " everywhere, and missed "A :"."""
    if re.search(r"^[C-Z] ?: ", text, re.M):
        raise Unusable(Reason.THIRD_SPEAKER)
    restored = re.sub(r"(?<=\S)<usr> ", "A: ", re.sub(r"(?<=\S)<bot> ", "B: ", text))
    marked = re.sub(r"^A ?: ?", "<usr> ", re.sub(r"^B ?: ?", "<bot> ", restored, flags=re.M), flags=re.M)
    repairs += [Repair.DNA] * (restored != text) + [Repair.LETTER_ROLES] * (marked != restored)
    return marked
