"""Checks for sample_ko_instructions.jsonl: one polite sentence, and a last line with a word of the question.

`핵심어: ㅁㄴㅇㄹ` passes the second alone; `known_keyword` is the honest one. See helpers/evaluate/checks.py.
"""

import re

LABEL = "핵심어:"
NOUNS_IN_YO = ("중요", "필요", "주요", "수요", "강요", "동요", "민요", "담요")
WITH_PARTICLE = re.compile("(는|를|에|에서|에게|한테|까지|부터)$")
NOUNS_IN_E = ("알로에", "오보에")
# what may follow a noun within a word of Korean: particles, 이다 and 하다
AFTER_NOUN = re.compile(
    r"(들|들이)?(에서|에게|한테|께|까지|부터|처럼|보다|마다|마저|조차|밖에|으로|로|에|이랑|랑|하고|와|과|이나|나|이라도|라도)?"
    r"(은|는|이|가|을|를|의|도|만|요|땐)?|(이)?(야|에요|예요|라는|란|라며|라서|라|인\w*|죠|지)|[하한할해했되된될돼됐]\w*"
)


def _parts(reply: str) -> tuple[str, bool, str]:
    """What stands above the last line, whether that is a label line, and its keyword."""
    above, _, last = reply.strip().rpartition("\n")
    return above, last.startswith(LABEL), last.removeprefix(LABEL).strip()


def one_polite_sentence(messages: list[dict], reply: str, reference: str) -> bool:
    """Above the last line stands one sentence in polite Korean."""
    above = _parts(reply)[0]
    return len(_sentences(above)) == 1 and _polite(above)


def label_line(messages: list[dict], reply: str, reference: str) -> bool:
    """The last line is 핵심어: and a word, and no other line has it."""
    above, label, keyword = _parts(reply)
    return label and bool(keyword) and LABEL not in above


def word_of_question(messages: list[dict], reply: str, reference: str) -> bool:
    """That word stands in the question."""
    _, label, keyword = _parts(reply)
    return label and _word_of(keyword, messages[-1]["content"])


def known_keyword(messages: list[dict], reply: str, reference: str) -> bool:
    """It is the word of the reference answer."""
    _, label, keyword = _parts(reply)
    return label and keyword == _parts(reference)[2]


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
    return end[2] == "죠" or _under(end[1]) not in (
        6,
        15,
        18,
        20,
        27,
    )  # not a bare stem: 있요, 없요, 좋요 (ㄶ ㅀ ㅄ ㅆ ㅎ)


def _gyeoksik(sentence: str) -> bool:
    end = re.search(r"([가-힣])(니다|니까|시오)$", sentence)
    return bool(end) and (end[1] == "십" if end[2] == "시오" else _under(end[1]) == 17)  # ㅂ: 합니다, not 아니다


def _word_of(keyword: str, question: str) -> bool:
    """True when `keyword` is one or more whole words of `question`, whose last one may have a particle behind it.

    A keyword that brings a particle of its own is no noun: 겨울에, 세탁기는. Those that nouns end in too (이, 가, 은, 을 ...) are let through.
    """
    if not re.search(r"[가-힣A-Za-z0-9]", keyword) or (WITH_PARTICLE.search(keyword) and keyword not in NOUNS_IN_E):
        return False
    places = re.finditer(rf"(?<!\w){re.escape(keyword)}(\w*)", question)
    return any(AFTER_NOUN.fullmatch(place[1]) for place in places)


# system lines of sample_ko_instructions.jsonl -> what the sentence above the label line then is
ORDERS = {
    "짧게 답해 주세요.": lambda said: len(said) <= 12,
    "이모지를 하나 붙여 주세요.": lambda said: bool(re.search(r"[.] [\U0001F300-\U0001FAFF]$", said)),
    "숫자를 넣어 답해 주세요.": lambda said: bool(re.search(r"\d", said)),
    "격식체로 답해 주세요.": lambda said: said.endswith("니다."),
    "느낌표로 끝내 주세요.": lambda said: said.endswith("요!"),
}


def _obeys(order: str, reply: str) -> bool:
    """Does a reply follow one of ORDERS? Raises KeyError for another system line."""
    return ORDERS[order](reply.strip().rpartition("\n")[0])
