"""Checks for polite_ko.jsonl: a casual sentence (반말) said in 해요체, and nothing else; see helpers/evaluate/checks."""

import difflib
import re

POLITE_ORDER = "해요체로 바꿔 주세요"  # in the prompts of polite_ko.jsonl
KEPT = 0.5  # similarity (difflib, 0 to 1) of a casual sentence and its polite form: all pairs of the file are above it
NOUNS_IN_YO = ("중요", "필요", "주요", "수요", "강요", "동요", "민요", "담요")
CASUAL_WORDS = re.compile(  # not 나 씨, 한 시간 내
    r"(?<!\w)(나(?!\s씨)|난|나는|나도|나를|나만|나랑|나한테|나에게|나의|(?<!간\s)(?<!년\s)(?<!일\s)(?<!달\s)(?<!주\s)내|내가|내게"
    r"|너|넌|널|너는|너도|너를|너만|너랑|너한테|너에게|너의|네가|니가|응|야)(?!\w)"
)
# what a casual sentence ends in, behind which no 요 belongs: 간다, 시야, 가자 (but 푹 자요), 가라 (but 몰라요), 가니, 가냐, 가는구나, 예쁘
CASUAL_END = re.compile(r"(다|야|냐|니|시|구나|[크쓰쁘프트르]|[가-힣]자|[가거너니다더려봐아어여오와워이줘져해마]라)$")
UNDER_YO = (0, 4, 8, 16, 21)  # nothing, ㄴ ㄹ ㅁ ㅇ (군요, 걸요, 그럼요); any other is a bare stem: 먹요


def polite_form(messages: list[dict], reply: str, reference: str) -> bool:
    """One line in 해요체, where the prompt asks for it."""
    asked = any(POLITE_ORDER in message["content"] for message in messages)
    return asked and "\n" not in reply.strip() and _polite(reply.strip(), formal=False)


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


def baseline(messages: list[dict]) -> str:
    """A bare 요 behind the sentence: what no model is needed for."""
    text = messages[-1]["content"].strip()
    return re.sub(r"([.!?…]*)$", r"요\1", text, count=1)


def _sentences(text: str) -> list[str]:
    """Split after . ! ? or a new line; symbols such as emoji belong to the sentence before them."""
    parts = re.split(r"(?<=[.!?…])\s+|\n+", text.strip())
    return [part for part in parts if re.search(r"\w", part)]


def _polite(text: str, formal: bool = True) -> bool:
    """Every sentence ends in 해요체 (-요, -죠) or, where `formal` is True, in 격식체 (-ㅂ니다, -ㅂ니까, -십시오).

    네 and 아니요 are no sentences of their own: one must stand beside them.
    """
    bare = [re.sub(r"[\W_]+$", "", part) for part in _sentences(text)]
    told = [part for part in bare if part not in ("네", "아니요")]
    return bool(told) and all(_haeyo(part) or (formal and _gyeoksik(part)) for part in told)


def _under(syllable: str) -> int:
    """The consonant under a Hangul syllable, 0 (none) to 27, by its place in Unicode."""
    return (ord(syllable) - ord("가")) % 28


def _haeyo(sentence: str) -> bool:
    end = re.search(r"([가-힣])([요죠])$", sentence)
    if not end or sentence.endswith(NOUNS_IN_YO):
        return False
    return end[2] == "죠" or (_under(end[1]) in UNDER_YO and not CASUAL_END.search(sentence[:-1]))


def _gyeoksik(sentence: str) -> bool:
    end = re.search(r"([가-힣])(니다|니까|시오)$", sentence)
    return bool(end) and (end[1] == "십" if end[2] == "시오" else _under(end[1]) == 17)  # ㅂ: 합니다, not 아니다


def _letters(text: str) -> str:
    """`text` without spaces and punctuation."""
    return re.sub(r"[\W_]+", "", text)
