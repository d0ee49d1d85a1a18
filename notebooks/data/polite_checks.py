"""Checks for polite_ko.jsonl: a casual sentence (반말) said in 해요체, and nothing else; see helpers/evaluate/checks."""

import difflib
import re

from helpers.evaluate import korean

POLITE_ORDER = "해요체로 바꿔 주세요"  # in the prompts of polite_ko.jsonl
KEPT = 0.5  # similarity (difflib, 0 to 1) of a casual sentence and its polite form: all pairs of the file are above it
CASUAL_WORDS = re.compile(  # not 나 씨, 한 시간 내
    r"(?<!\w)(나(?!\s씨)|난|나는|나도|나를|나만|나랑|나한테|나에게|나의|(?<!간\s)(?<!년\s)(?<!일\s)(?<!달\s)(?<!주\s)내|내가|내게"
    r"|너|넌|널|너는|너도|너를|너만|너랑|너한테|너에게|너의|네가|니가|응|야)(?!\w)"
)


def polite_form(messages: list[dict], reply: str, reference: str) -> bool:
    """One line in 해요체, where the prompt asks for it."""
    asked = any(POLITE_ORDER in message["content"] for message in messages)
    return asked and "\n" not in reply.strip() and korean.haeyo(messages, reply, reference)


def no_casual_word(messages: list[dict], reply: str, reference: str) -> bool:
    """No word of casual speech is left."""
    return bool(re.search("[가-힣]{2}", reply)) and not CASUAL_WORDS.search(reply)


def same_sentence(messages: list[dict], reply: str, reference: str) -> bool:
    """It says what was asked to be said, and is no answer to it."""
    asked = messages[-1]["content"]
    return difflib.SequenceMatcher(None, asked, reply.strip(), autojunk=False).ratio() >= KEPT


def as_reference(messages: list[dict], reply: str, reference: str) -> bool:
    """The reference answer, letter by letter; spaces and signs do not count."""
    return _letters(reply) == _letters(reference)


spelled = korean.spelled


def baseline(messages: list[dict]) -> str:
    """A bare 요 behind the sentence: what no model is needed for."""
    text = messages[-1]["content"].strip()
    return re.sub(r"([.!?…]*)$", r"요\1", text, count=1)


def _letters(text: str) -> str:
    """`text` without spaces and punctuation."""
    return re.sub(r"[\W_]+", "", text)
