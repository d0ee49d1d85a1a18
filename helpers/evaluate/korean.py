"""Ready-made checks of Korean: Kiwi finds stem, ending and particle, so that no list of endings is written by hand.

Kiwi (kiwipiepy, LGPL 3.0) brings 100 MB: `bash setup_kernel.sh --korean` installs it, the plain set-up does not.
How often the checks are right: `proofs.proof_korean_checks`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from helpers.show.words import _

try:
    from kiwipiepy import Kiwi  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError as error:
    sentence = _("These checks need Kiwi (100 MB), which is not installed: run bash setup_kernel.sh --korean.")
    raise ModuleNotFoundError(sentence) from error

ALONE = ("네", "예", "아니요")  # no sentence of their own: one must stand beside them
STEM = ("VV", "VA", "VX", "XS", "EP")  # tags of what an ending must follow: 먹요 has none
PLAIN = re.compile("(다|자|라|냐|니|구나|야)$")  # a sentence in 해라체, behind which no 요 belongs: 간다요
PARTICLES = {"을": "를", "은": "는", "이": "가", "과": "와", "으로": "로"}  # after a consonant: after a vowel
BEFORE = ("NNG", "NNP", "NNB", "NP", "XSN")  # tags of what they stand behind


@functools.cache
def _kiwi() -> Any:  # whose tokenize() has one type for a text and another for many
    return Kiwi()


def _sentences(text: str) -> Iterator[list]:
    """The morphemes of each sentence, without signs."""
    sentence, line = [], 0
    for token in _kiwi().tokenize(text):
        if token.tag == "SF" or token.line_number != line:
            yield sentence
            sentence, line = [], token.line_number
        if token.tag[0] not in "SW":
            sentence.append(token)
    yield sentence


def _all_end(text: str, fits: Callable[[list], bool]) -> bool:
    told = [part for part in _sentences(text) if part and "".join(token.form for token in part) not in ALONE]
    return bool(told) and all(map(fits, told))


def _yo(sentence: list) -> bool:
    """Does it end in -요 or -죠, and not in a 요 behind a bare stem or a casual ending?"""
    last = sentence[-1]
    if last.tag == "IC":
        return last.form.endswith("요")
    if len(sentence) < 2 or last.start > sentence[-2].end:
        return False
    if last.form in ("요", "이요"):  # 서울요, 거요, but not 먹요, 시야요
        return not sentence[-2].tag.startswith(STEM) and not PLAIN.search(sentence[-2].form)
    yo = last.form.endswith("요") and not PLAIN.search(last.form[:-1])
    return last.tag in ("EF", "EC") and (yo or last.form.endswith("죠"))  # EC: no sign at the end


def haeyo(messages: list[dict], reply: str, reference: str) -> bool:
    """Every sentence of the reply is in 해요체; a bare 요 behind a casual one is not."""
    return _all_end(reply, _yo)


def hapsyo(messages: list[dict], reply: str, reference: str) -> bool:
    """Every sentence of the reply is in 합쇼체 (-ㅂ니다, -ㅂ니까, -십시오)."""
    return _all_end(reply, lambda part: part[-1].tag == "EF" and part[-1].form.endswith(("니다", "니까", "시오")))


def spelled(messages: list[dict], reply: str, reference: str) -> bool:
    """No 조사 of the wrong sound (친구을) and no slip that Kiwi corrects (떄문); it does not know all of them."""
    return bool(re.search("[가-힣]{2}", reply)) and not any(_slips(reply))


def _slips(text: str) -> Iterator[str]:
    """What is misspelled, as it stands in `text`."""
    for token in _kiwi().tokenize(text, typos="basic"):
        behind = re.match("[가-힣]*", text[token.end :])
        word, particle = text[token.start : token.end], behind[0] if behind else ""
        if token.typo_cost > 0:
            yield word
        elif token.tag in BEFORE and "가" <= word[-1] <= "힣" and _wrong(word, particle):
            yield word + particle


def _wrong(word: str, particle: str) -> bool:
    """Is it the particle for the other sound? By the consonant under the last syllable, by its place in Unicode."""
    under = (ord(word[-1]) - ord("가")) % 28
    closed = under not in (0, 8) if particle in ("으로", "로") else under > 0  # ㄹ: 서울로
    return particle in (PARTICLES.values() if closed else PARTICLES)
