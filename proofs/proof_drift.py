"""Falsify the Korean pages one place at a time: how often does the check notice it, apart from the hash?

python -m proofs.proof_drift

Each kind of falsification is tried wherever a block allows it; a block that is signed (all of them are, by
`tests/test_translate.py`) is noticed by its hash in any case.

2026-11-30, without the hash:

    two numbers exchanged        339 of   440
    a digit changed             1059 of  1110
    a sentence left out          557 of   919
    two links exchanged          121 of   121
    a unit changed               152 of   187
    a bullet or row left out     427 of   427
    an opposite                   26 of    73
    together                    2681 of  3277
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from docs.translation.drift import differences
from docs.translation.languages import CODE, numbers, read_language
from helpers.paths import PROJECT_ROOT
from helpers.translate import GLOSSARY, LINK, english, pairs, translated

WORDS = read_language(PROJECT_ROOT / "notebooks" / "ko" / "terms.md")
SENTENCE = re.compile(r"(?:(?<=[.?!] )|(?<=^))[^\n.?!|#<>-][^\n.?!|]*[.?!] ", re.M)
TURNED = {"초록색": "빨간색", "빨간색": "초록색", "낮": "높", "늘": "줄", "나은": "나쁜"}


def plain(text: str) -> str:
    """`text` with spaces for what is no prose, at the same places."""
    return re.sub(r"\]\([^)]*\)|<[^>]+>|```.*?```|`[^`\n]+`|\$[^$]+\$", lambda m: " " * len(m[0]), text, flags=re.S)


def value(digits: str) -> float:
    return float(digits.strip(".,").replace(",", ""))


def falsified(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text) for every single falsification of a block."""
    found = [number.span for number in numbers(plain(text), WORDS, WORDS.scales)]
    digits = [re.search(r"\d[\d,.]*\d|\d", text[start:end]) for start, end in found]
    places = [(start + d.start(), start + d.end()) for (start, _end), d in zip(found, digits, strict=True) if d]
    for (a, b), (c, d) in zip(places, places[1:], strict=False):
        if value(text[a:b]) != value(text[c:d]) and text.count("\n", b, c) == 0:
            yield "two numbers exchanged", text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]
    for a, _b in places:
        yield "a digit changed", text[:a] + str((int(text[a]) + 1) % 10) + text[a + 1 :]
    for match in SENTENCE.finditer(plain(text)):
        if len(match[0]) > 8:
            yield "a sentence left out", text[: match.start()] + text[match.end() :]
    links = [match.span(2) for match in LINK.finditer(CODE.sub(lambda m: " " * len(m[0]), text))]
    for (a, b), (c, d) in zip(links, links[1:], strict=False):
        if text[a:b] != text[c:d]:
            yield "two links exchanged", text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]
    for match in re.finditer(r"GB|MB|(?<=\d)초|(?<=\d)분(?!의)", plain(text)):
        other = {"GB": "MB", "MB": "GB", "초": "분", "분": "초"}[match[0]]
        yield "a unit changed", text[: match.start()] + other + text[match.end() :]
    for match in re.finditer("|".join(TURNED), plain(text)):
        yield "an opposite", text[: match.start()] + TURNED[match[0]] + text[match.end() :]
    for match in re.finditer(r"^(?:[-*]|\d\.) .*\n|^\|(?! ?-).*\n", text, re.M):
        yield "a bullet or row left out", text[: match.start()] + text[match.end() :]


def main() -> None:
    tried, noticed = Counter(), Counter()
    for source, target in pairs("ko"):
        theirs = english(source, source.read_text(encoding="utf-8"))
        short = source.name == GLOSSARY
        for name, block in translated(target).items():
            for kind, text in falsified(block.text):
                tried[kind] += 1
                noticed[kind] += bool(differences(theirs[name], text, WORDS, short=short))
    for kind in tried:
        print(f"    {kind:26} {noticed[kind]:5} of {tried[kind]:5}")
    print(f"    {'together':26} {noticed.total():5} of {tried.total():5}")


if __name__ == "__main__":
    main()
