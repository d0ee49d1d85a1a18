"""What belongs to a language: numbers with their signs, scales and units as it writes them, and the tables of
notebooks/LANGUAGE/terms.md (terms, opposites, units, scales such as 만, written numbers).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

CODE = re.compile(r"```.*?```|`[^`\n]+`|\$\$.+?\$\$|\$[^$\n]+\$", re.S)
NAME = r"(?<![A-Za-z0-9_.])(?=[A-Za-z_./-]*\d)[A-Za-z][A-Za-z0-9_./-]*[A-Za-z0-9]|\d{4}-\d\d-\d\d|\d+\.\d+\.\d+"
DIGITS = r"(?<![\w.])([-−](?=\d))?(\d[\d,]*(?:\.\d+)?)"
ENGLISH = {"M": 1e6, "million": 1e6, "B": 1e9, "billion": 1e9, "K": 1e3}
WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
MONTHS = "january february march april may june july august september october november december".split()
WRITTEN = {word: (value,) for value, word in enumerate(WORDS)} | {
    **{"a": (1,), "an": (1,), "each": (1,), "single": (1,), "first": (1,), "second": (2,), "third": (3, 0.333333)},
    **{"twice": (2,), "both": (2,), "double": (2,), "half": (0.5, 30), "quarter": (0.25,), "eighth": (1 / 8,)},
    **{"tenth": (0.1,), "twenty": (20,), "thirty": (30,), "forty": (40,), "hundred": (100,), "zeros": (0,)},
    **{month: (number,) for number, month in enumerate(MONTHS, start=1)},
    **{"nothing": (0,), "none": (0,), "dozen": (12,), "billion": (1e9,), "million": (1e6,)},
}


@dataclass(frozen=True)
class Language:
    """The tables of terms.md: what a term is not called, opposites, units, scales and written numbers."""

    terms: tuple[tuple[str, str], ...] = ()  # (what a term is not called, what it is called)
    opposites: tuple[tuple[str, ...], ...] = ()  # English, ours, the opposite in English, ours: patterns
    units: dict[str, str] = field(default_factory=dict)  # a word of either language -> one name
    scales: dict[str, float] = field(default_factory=dict)
    written: dict[float, str] = field(default_factory=dict)  # a number -> a pattern of its words
    letters: str = ""  # the language's own, as in a pattern's brackets: 가-힣


@dataclass(frozen=True)
class Number:
    value: float
    unit: str
    span: tuple[int, int]


def read_language(page: Path) -> Language:
    """The tables of a terms.md, by their number of columns and the head of the first; empty where there is none."""
    tables: list[list[list[str]]] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split(" | ")] if line.startswith("|") else []
        cells = [cell.strip("| ") for cell in cells]
        if not cells:
            tables.append([])
        elif not set(line) <= set("|- "):
            tables[-1].append(cells)
    by_head = {rows[0][0]: rows[1:] for rows in tables if rows}
    return Language(
        terms=tuple(
            (word.strip(), row[1]) for row in by_head.get("English", ()) for word in row[2].split(",") if word.strip()
        ),
        opposites=tuple(tuple(cell.replace(", ", "|") for cell in row) for row in by_head.get("side", ())),
        units={word: row[0] for row in by_head.get("unit", ()) for word in ", ".join(row).split(", ")},
        scales={row[1]: float(row[0]) for row in by_head.get("scale", ())},
        written={float(row[0]): row[1].replace(", ", "|") for row in by_head.get("number", ())},
        letters=next((row[0] for row in by_head.get("letters", ())), ""),
    )


def prose(text: str) -> str:
    """`text` without code, formulas, links' targets and tags."""
    return re.sub(r"\]\([^)]*\)|<[^>]+>|&\w+;", " ", CODE.sub(" ", text))


def names(text: str) -> set[str]:
    """Words with a digit that are one thing in every language: Llama-2-7B, 2026-11-30, 0.33.0."""
    return set(re.findall(NAME, prose(text)))


def numbers(text: str, language: Language, scales: dict[str, float]) -> list[Number]:
    """The numbers of a text in their order, with sign, scale and unit; those of names are left out."""
    plain = re.sub(NAME, lambda found: " " * len(found[0]), prose(text))
    plain = re.sub(r"([1-9]\d*)분의 (\d+)", lambda found: f"{int(found[2]) / int(found[1])}", plain)
    every = "|".join(sorted(map(re.escape, scales), key=len, reverse=True)) or "(?!)"
    units = "|".join(sorted(map(re.escape, language.units), key=len, reverse=True)) or "(?!)"
    scaled = rf"(?:[ -]?({every})(?![A-Za-z])(?: (\d[\d,]*)({every}))?)?"
    found = []
    for match in re.finditer(rf"{DIGITS}{scaled}(?:[ -]?({units})(?![A-Za-z]))?", plain):
        value, scale = float(match[2].replace(",", "")), match[3]
        if scale and not (scale in ENGLISH or value.is_integer()):
            scale = None  # 0.012만: only
        value = value * scales.get(scale or "", 1) + float((match[4] or "0").replace(",", "")) * scales.get(match[5], 1)
        found.append(Number(round(-value if match[1] else value, 6), language.units.get(match[6], ""), match.span()))
    return found


def units_in_words(english: str, language: Language) -> set[str]:
    """Units of numbers that English writes as words: two minutes, half a minute (30 seconds)."""
    every = "|".join(sorted(map(re.escape, language.units), key=len, reverse=True)) or "(?!)"
    found = re.findall(rf"\b(?:{'|'.join(WRITTEN)}|few|some|per)[ -](?:\w+ )?({every})\b", english, re.I)
    return {language.units[unit] for unit in found} | (
        {"s", "min"} if re.search("half|quarter", english, re.I) else set()
    )


def written(english: str) -> set[float]:
    """Numbers that English writes as words."""
    return {value for word in re.findall(r"[a-z]+", english.lower()) for value in WRITTEN.get(word, ())}
