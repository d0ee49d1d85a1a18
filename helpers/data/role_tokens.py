"""`<usr> ...\\n<bot> ...`, the text format of open-korean-instructions, with the traps that its sources left in it."""

import re

from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.turns import ROLES, message
from helpers.show.words import N_

# A row of each kind, to look at in 03
_AFTER, _DNA = N_("the text to work on comes after the question"), N_("every 'A: ' became '<usr> ', in 'DNA: ' too")
_BEGINS = N_("the bot begins, and the last question has no answer")
TRAPS = {
    _AFTER: "<usr> 번역하세요.\n<sys> I like tea.\n<bot> 나는 차를 좋아해요.",
    _DNA: "<sys>DNA에 담긴다.\n<usr> 어디에 있나요?\n<bot> DN<usr> 바로 거기요.",
    N_("a third person, C, speaks"): "<usr> 언제 열려요?\n<bot> 오전 9시예요.\nC: 저도 궁금했어요.",
    _BEGINS: "<bot> 무엇을 도와드릴까요?\n<usr> 시를 써 줘.\n<bot> 봄밤에\n<usr> 고마워",
    N_("'n' stands where a new line was meant"): "<usr> 물은 몇 도에서 끓어?n<bot> 100도에서 끓어요.",
}
LINE_START = re.compile(r"^[ \t]*<(usr|bot|sys)>", re.M)


def parse_text(text: object, source: str, repairs: list[Repair]) -> list[dict]:
    """The turns of one text; what is mended is appended to `repairs`. Raises Unusable."""
    if not isinstance(text, str):
        raise Unusable(Reason.TEXT_MISSING)
    text, count = text.replace("\r\n", "\n"), 0
    if "<bot>" in text and not re.search(r"^[ \t]*<bot>", text, re.M):
        text, count = re.subn(r"\\?n(?=<(?:usr|bot|sys)>)", "\n", text)
        repairs += [Repair.N_BOT] * bool(count)
    if "korquad" in source and not count:
        text = _korquad(text, repairs)
    before, *parts = LINE_START.split(text)
    if not parts:
        raise Unusable(Reason.NO_ROLE_TOKEN)
    if before.strip():
        raise Unusable(Reason.TEXT_BEFORE)
    return [message(ROLES[role], part) for role, part in zip(parts[::2], parts[1::2], strict=True)]


def _korquad(text: str, repairs: list[Repair]) -> str:
    """Its maker replaced "A: " by "<usr> " and "B: " by "<bot> " everywhere, and missed "A :"."""
    if re.search(r"^[C-Z] ?: ", text, re.M):
        raise Unusable(Reason.THIRD_SPEAKER)
    restored = re.sub(r"(?<=\S)<usr> ", "A: ", re.sub(r"(?<=\S)<bot> ", "B: ", text))
    marked = re.sub(r"^A ?: ?", "<usr> ", re.sub(r"^B ?: ?", "<bot> ", restored, flags=re.M), flags=re.M)
    repairs += [Repair.DNA] * (restored != text) + [Repair.LETTER_ROLES] * (marked != restored)
    return marked
