"""What the project's own data sets teach, checked by program: one column per check, counted per model.

A skill belongs to a data set: it is measured only where the reference answers show all of it (`skill_of`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

LABEL = "핵심어:"
POLITE_ORDER = "해요체로 바꿔 주세요"  # in the prompts of polite_ko.jsonl
KEPT = 0.5  # similarity (difflib, 0 to 1) of a casual sentence and its polite form: all pairs of polite_ko.jsonl are above it
NOUNS_IN_YO = ("중요", "필요", "주요", "수요", "강요", "동요", "민요", "담요")
CASUAL_WORDS = re.compile(
    r"(?<!\w)(나|난|나는|나도|나를|나만|나랑|나한테|내|내가|너|넌|널|너는|너도|너를|너랑|너한테|네가|니가|응|야)(?!\w)"
)
WITH_PARTICLE = re.compile("(는|를|에|에서|에게|한테|까지|부터)$")
NOUNS_IN_E = ("알로에", "오보에")
# what may follow a noun within a word of Korean: particles, 이다 and 하다
AFTER_NOUN = re.compile(
    r"(들|들이)?(에서|에게|한테|께|까지|부터|처럼|보다|마다|마저|조차|밖에|으로|로|에|이랑|랑|하고|와|과|이나|나|이라도|라도)?"
    r"(은|는|이|가|을|를|의|도|만|요|땐)?|(이)?(야|에요|예요|라는|란|라며|라서|라|인\w*|죠|지)|[하한할해했되된될돼됐]\w*"
)

Checks = Callable[[list[dict], str, str], dict[str, bool]]


def keyword_checks(messages: list[dict], reply: str, reference: str) -> dict[str, bool]:
    """The skill of sample_ko_instructions.jsonl: a polite sentence, and the question's topic in a last line."""
    said, _, last = reply.strip().rpartition("\n")
    label, keyword = last.startswith(LABEL), last.removeprefix(LABEL).strip()
    return {
        "one polite sentence": len(sentences(said)) == 1 and polite(said),
        "label line": label and bool(keyword) and LABEL not in said,
        "a word of the question": label and word_of(keyword, messages[-1]["content"]),
        "the known keyword": label and keyword == reference.strip().rpartition("\n")[2].removeprefix(LABEL).strip(),
    }


def polite_checks(messages: list[dict], reply: str, reference: str) -> dict[str, bool]:
    """The skill of polite_ko.jsonl: a casual sentence (반말) said in 해요체, and nothing else."""
    asked, said = messages[-1]["content"], reply.strip()
    told = any(POLITE_ORDER in message["content"] for message in messages)
    return {
        "해요체": told and "\n" not in said and polite(said, formal=False),
        "no casual word": bool(re.search("[가-힣]{2}", said)) and not CASUAL_WORDS.search(said),
        "the same sentence": difflib.SequenceMatcher(None, asked, said, autojunk=False).ratio() >= KEPT,
        "as the reference": letters(said) == letters(reference),
    }


def skill_of(prompts: list[list[dict]], references: list[str]) -> Checks | None:
    """The skill that every reference answer shows; None when there is none."""
    for checks in (keyword_checks, polite_checks):
        if references and all(all(checks(*pair, pair[1]).values()) for pair in zip(prompts, references, strict=True)):
            return checks
    return None


def count_skill(checks: Checks, prompts: list[list[dict]], replies: list[str], references: list[str]) -> dict[str, int]:
    """How many replies pass each check."""
    found = [checks(*row) for row in zip(prompts, replies, references, strict=True)]
    return {name: sum(row[name] for row in found) for name in found[0]}


def skill_table(skill: dict):
    """`skill` as evaluation.json holds it: replies, and per model the counts of `count_skill`."""
    from helpers.show.tables import Table

    rows = [
        {"model": name, **{check: f"{n} of {skill['replies']}" for check, n in counts.items()}}
        for name, counts in skill["models"].items()
    ]
    return Table(rows, caption="The skill of this data set; its reference answers pass every check.")


def sentences(text: str) -> list[str]:
    """Split after . ! ? or a new line; symbols such as emoji belong to the sentence before them."""
    parts = re.split(r"(?<=[.!?…])\s+|\n+", text.strip())
    return [part for part in parts if re.search(r"\w", part)]


def polite(text: str, formal: bool = True) -> bool:
    """Every sentence ends in 해요체 (-요, -죠) or, where `formal` is True, in 격식체 (-ㅂ니다, -ㅂ니까, -십시오).

    네 and 아니요 are no sentences of their own: one must stand beside them.
    """
    bare = [re.sub(r"[\W_]+$", "", part) for part in sentences(text)]
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


def word_of(keyword: str, question: str) -> bool:
    """True when `keyword` is one or more whole words of `question`, whose last one may have a particle behind it.

    A keyword that brings a particle of its own is no noun: 겨울에, 세탁기는. Those that nouns end in too (이, 가, 은, 을 ...) are let through.
    """
    if not re.search(r"[가-힣A-Za-z0-9]", keyword) or (WITH_PARTICLE.search(keyword) and keyword not in NOUNS_IN_E):
        return False
    places = re.finditer(rf"(?<!\w){re.escape(keyword)}(\w*)", question)
    return any(AFTER_NOUN.fullmatch(place[1]) for place in places)


def letters(text: str) -> str:
    """`text` without spaces and punctuation."""
    return re.sub(r"[\W_]+", "", text)


def without_keyword(text: str) -> str:
    """A reply without the label line, for judges who are not to know which model has learned it."""
    said, _, last = text.rstrip().rpartition("\n")
    return said.rstrip() if last.strip().removeprefix(LABEL).strip() and last.strip().startswith(LABEL) else text


# system lines of sample_ko_instructions.jsonl -> what the sentence above the label line then is
ORDERS = {
    "짧게 답해 주세요.": lambda said: len(said) <= 12,
    "이모지를 하나 붙여 주세요.": lambda said: bool(re.search(r"[.] [\U0001F300-\U0001FAFF]$", said)),
    "숫자를 넣어 답해 주세요.": lambda said: bool(re.search(r"\d", said)),
    "격식체로 답해 주세요.": lambda said: said.endswith("니다."),
    "느낌표로 끝내 주세요.": lambda said: said.endswith("요!"),
}


def obeys(order: str, reply: str) -> bool:
    """Does a reply follow one of ORDERS? Raises KeyError for another system line."""
    return ORDERS[order](reply.strip().rpartition("\n")[0])
