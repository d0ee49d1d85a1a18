"""What a program can see of a text and its translation: the shape, numbers with sign and unit in their order,
sentences, links, names, opposites, the share of the language's own letters. `review` asks it about each block.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from docs.translation.languages import (
    CODE,
    ENGLISH,
    NAME,
    Language,
    Number,
    names,
    numbers,
    prose,
    units_in_words,
    written,
)
from helpers.translate import LINK

WORD_ENDS = r"(?=[\s은는이가을를도만의에로과와씩째쯤입,.·)]|$)"  # of a number in words: 하나의, not 하나같이
# what stands before the whole in English: 3 of the 4
WHOLE = re.compile(r"(?:\b(?:of|among|in|from|the|all|these|its|between|to|and)|/)\s+(?:[a-z-]+\s+){0,2}$", re.I)
OF_IT = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?) *[가-힣]{0,3} (?:중|가운데)(?= |에)")  # 4개 중 3개: 4 is the whole
RANGE, RANGE_HERE = re.compile(r"\s*(?:to|-|–|~|->|→)\s*"), re.compile(r"\s*[가-힣%]{0,2}(?:~|에서|부터|→|->)\s*")
TURNED = re.compile(  # 3 of 4: 4개 중 3개
    r"[^.;!?]*\b(?:of|in|instead|with|for|on|into|from|after|than|above|per|out|by|at|to)\b[^.;!?]*"
)


def segments(text: str) -> list[tuple[str, str]]:
    """(kind, text) of each heading, paragraph, bullet, table row; a kind is one letter. Code blocks are left out."""
    found, open_one = [], ""
    for line in re.sub(r"```.*?```|\$\$.+?\$\$", "\n\n", text, flags=re.S).splitlines():
        line = line.strip()
        mark = re.match(r"[|#<>]|[-*] |\d+\. ", line)
        kind = "t" if not mark else "1" if mark[0][0].isdigit() else mark[0][0]
        if line and kind == "t" and open_one:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line}")
        elif line:
            found.append((kind, line))
        open_one = "" if not line or kind in "|#<" else open_one or kind
    return found


def sentences(text: str) -> int:
    """How many end within a text."""
    plain = re.sub(r"^\s*(\d+\.|[-*>]) ", "", re.sub(r"\]\([^)]*\)|<[^>]+>", "", CODE.sub("x", text)))
    return len(re.findall(r"[.!?](?=[\s)\"'*_”|]|$)", plain))


def differences(english: str, ours: str, language: Language, short: bool = False) -> list[str]:
    """What `ours` says otherwise than `english`, as far as a program can see it: a sentence each.

    `short` texts (a line that the code prints, a row of the glossary) may be fewer sentences in another order.
    """
    there, here = segments(english), segments(ours)
    found = [*_links(english, ours)]
    codes = [Counter(CODE.findall(text)) for text in (english, ours)]
    found += [f"{code!r} of the English is missing" for code in codes[0] - codes[1]]
    found += [f"{code!r} is not in the English" for code in codes[1] - codes[0]]
    if [kind for kind, _ in there] != [kind for kind, _ in here]:
        kinds = " and ".join("".join(kind for kind, _ in side) for side in (there, here))
        return [*found, f"other paragraphs, bullets or rows than the English ({kinds})"]
    known = {number.value for number in numbers(english, language, ENGLISH)} | written(english)
    said: dict[str, str] = {}
    for (kind, theirs), (_, mine) in zip(there, here, strict=True):
        if said.setdefault(mine, theirs) != theirs and re.search(f"[{language.letters or 'a'}]", mine):
            found.append(f"the same text twice: {mine[:40]!r}")
        if kind == "|" and theirs.count("|") != mine.count("|"):
            found.append(f"other columns than the English: {mine[:40]!r}")
        for part, ours_of_it in _cells(kind, theirs, mine):
            found += [*_of_numbers(part, ours_of_it, known, language), *_of_pairs(part, ours_of_it, language)]
        found += _of_opposites(theirs, mine, language, short)
        found += [] if short else _of_length(theirs, mine, kind, language)
    return found + [
        f"{word!r} is called {usual!r} elsewhere" for word, usual in language.terms if word in CODE.sub("", ours)
    ]


def _cells(kind: str, english: str, ours: str) -> list[tuple[str, str]]:
    """The cells of a table's row in pairs, any other text as it is: a number belongs to its cell."""
    there, here = english.split("|"), ours.split("|")
    return [*zip(there, here, strict=True)] if kind == "|" and len(there) == len(here) else [(english, ours)]


def _links(english: str, ours: str) -> Iterator[str]:
    there, here = ([_target(found[1]) for found in LINK.findall(CODE.sub("", text))] for text in (english, ours))
    if there != here:
        yield f"other links than the English, or in another order: {here} for {there}"


def _target(link: str) -> str:
    """A link as the English has it: a page of this language is the same page."""
    link = re.sub(r"notebooks/[a-z]{2}/([^)]*?)\.md", r"notebooks/\1.ipynb", re.sub(r"\.[a-z]{2}\.md$", ".md", link))
    link = re.sub(r"notebooks/[a-z]{2}/drawings/", "notebooks/drawings/", link)
    return re.sub(r"notebooks/[a-z]{2}/labs/$", "notebooks/labs/", link)


def _of_length(english: str, ours: str, kind: str, language: Language) -> Iterator[str]:
    if kind not in "#|" and sentences(ours) < sentences(english):
        yield f"{sentences(ours)} sentences for {sentences(english)}: {ours[:40]!r}"
    theirs, mine = prose(english), prose(ours)
    least = 0.35 if len(theirs) < 100 else 0.39 if len(theirs) < 200 else 0.45  # the shortest there are, 2026-11-30
    if len(theirs) > 60 and not least <= len(mine) / len(theirs) <= 1.5:
        yield f"{len(mine)} characters for {len(theirs)}: {ours[:40]!r}"
    quoted = re.sub(r"\"[^\"]*\"|\*[^*]*\*|\S+/\S+", "", mine)
    own, latin = len(re.findall(f"[{language.letters or 'a'}]", quoted)), re.findall(r"\b[a-z]{2,}\b", quoted)
    latin = [word for word in latin if word not in language.units]
    if language.letters and len(latin) > 3 and own < 2 * len(latin):
        yield f"still in English: {ours[:60]!r}"


def _of_opposites(english: str, ours: str, language: Language, short: bool) -> Iterator[str]:
    theirs, mine = prose(english), prose(ours)
    for pair in language.opposites:
        found = [re.search(word, text, re.I) for word, text in zip(pair, (theirs, mine, theirs, mine), strict=True)]
        one, its, other, others = (match.start() if match else -1 for match in found)
        if (one < 0) == (others < 0) != (its < 0) == (other < 0):
            yield f"the opposite of the English: {ours[:40]!r}"
        if not short and min(one, its, other, others) >= 0 and (one < other) != (its < others):
            words = [match[0] for match in found if match]
            yield f"{words[1]!r} and {words[3]!r} stand the other way round than {words[0]!r} and {words[2]!r}"


def _of_numbers(english: str, ours: str, known: set[float], language: Language) -> Iterator[str]:
    there, here = numbers(english, language, ENGLISH), numbers(ours, language, ENGLISH | language.scales)
    if names(english) != names(ours):
        yield f"{sorted(names(english) ^ names(ours))} on one side only"
    for value in Counter(n.value for n in there) - Counter(n.value for n in here):
        word = language.written.get(value)
        if not word or not re.search(rf"(?<![가-힣])(?:{word}){WORD_ENDS}", ours):
            yield f"the number {value:g} of the English is missing"
    for value in {n.value for n in here} - known:
        yield f"the number {value:g} is not in the English"
    units = {n.value: {m.unit for m in there if m.value == n.value} for n in there}
    in_words = units_in_words(english, language)
    for number in here:
        allowed = units.get(number.value, in_words)
        if number.unit and "" not in allowed and number.unit not in allowed | in_words:
            yield f"{number.value:g} has the unit {number.unit}, not {' or '.join(sorted(allowed)) or 'any'}"
    wanted, left = [], Counter(n.value for n in here) & Counter(n.value for n in there)
    for number in there:
        if left[number.value] > 0:
            wanted.append(number)
            left[number.value] -= 1
    if not _in_order([n.value for n in here], wanted, english):
        yield f"the numbers stand in another order: {[n.value for n in here]} for {[n.value for n in wanted]}"


def _of_pairs(english: str, ours: str, language: Language) -> Iterator[str]:
    """Two numbers that belong together, turned round: 3개 중 4개 for 3 of 4, 6~4 for 4 to 6."""
    theirs = prose(english)
    there, here = numbers(english, language, ENGLISH), numbers(ours, language, ENGLISH | language.scales)
    wholes = {n.value for n in there if WHOLE.search(theirs[: n.span[0]])} | written(english)
    for number, value in ((found[0], float(found[1].replace(",", ""))) for found in OF_IT.finditer(prose(ours))):
        if value in {n.value for n in there} - wholes:
            yield f"{number!r}: in the English {value:g} is no whole"
    ranges = {(a.value, b.value) for a, b in zip(there, there[1:], strict=False) if _joined(theirs, a, b, RANGE)}
    for a, b in zip(here, here[1:], strict=False):
        pair = (a.value, b.value)
        if pair[::-1] in ranges - {pair} and _joined(prose(ours), a, b, RANGE_HERE):
            yield f"from {a.value:g} to {b.value:g}: the other way round than the English"


def _joined(text: str, first: Number, second: Number, by: re.Pattern) -> bool:
    return bool(by.fullmatch(text[first.span[1] : second.span[0]]))


def _in_order(given: list[float], wanted: list[Number], english: str) -> bool:
    """Do the values come in the order of the English? Two neighbours may turn: 3 of 4 is 4개 중 3개."""
    plain = re.sub(NAME, lambda found: " " * len(found[0]), prose(english))

    def fits(values: list[float], rest: list[Number]) -> bool:
        if not rest or not values:
            return not rest
        first = values[0]
        if first == rest[0].value and fits(values[1:], rest[1:]):
            return True
        between = plain[rest[0].span[1] : rest[1].span[0]] if len(rest) > 1 else ""
        if (
            len(rest) > 1
            and first == rest[1].value
            and TURNED.fullmatch(between)
            and fits(values[1:], [rest[0], *rest[2:]])
        ):
            return True
        again = values.count(first) > sum(number.value == first for number in rest)
        return again and fits(values[1:], rest)

    return fits(given, wanted)
