"""Which characters the bytes of a file are: UTF-8 unless it fails in many places; a guess is limited, and noted."""

import codecs
import re
from pathlib import Path
from typing import IO, NamedTuple

from helpers.show.words import _

Notes = list[str]  # sentences for the reader
BROKEN = re.compile("[\udc80-\udcff]")  # a byte that is no character, as Python's surrogateescape reads it
FEW_LINES = 0.05  # share of the lines that may be broken in a file that is UTF-8 all the same
COMMON_HANGUL = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]")  # the 2,350 syllables of KS X 1001, in CP949's bytes
WESTERN = re.compile("[À-ÿ‘’“”–—…•€«»©®°£§´¿¡Œœ]")

# the first bytes of files that are no text, whatever their name says
NO_TEXT = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "Excel (.xlsx) / ZIP",
    b"\xd0\xcf\x11\xe0": "Excel (.xls)",
    b"PAR1": "Parquet",
    b"%PDF": "PDF",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}


class Encoding(NamedTuple):
    """How a file is to be opened; `broken`: some lines hold bytes that are no characters."""

    name: str
    broken: bool = False

    @property
    def label(self) -> str:
        """As people write it: UTF-8, CP949."""
        return self.name.upper().replace("_", "-").removesuffix("-SIG")

    def open(self, path: Path, newline: str | None = None) -> IO[str]:
        return path.open(encoding=self.name, errors="surrogateescape" if self.broken else "strict", newline=newline)


class Fit(NamedTuple):
    """How well the bytes of a file fit an encoding."""

    characters: int  # that are not ASCII
    bad: int  # bytes that are no character
    hangul: int  # common syllables, by CP949
    bad_lines: list[int]
    lines: int
    sample: str  # the first line with other characters than ASCII


def encoding_of(path: Path, notes: Notes) -> Encoding:
    """UTF-8, or what the bytes show instead: UTF-16 (Excel), CP949 (Korean Windows), CP1252 (Western Windows).

    A file that is nearly UTF-8 is UTF-8; its broken lines are noted. Raises ValueError when nothing fits, or for what
    is no text at all.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    utf8 = _decodes(path, "utf-8")
    if not utf8 and (kind := next((NO_TEXT[mark] for mark in NO_TEXT if head.startswith(mark)), "")):
        sentence = _("{file} is no text but {kind}, by its first bytes: unpack or export it, or mend its ending.")
        raise ValueError(sentence.format(file=path.name, kind=kind))
    utf16 = _utf16(head, utf8)
    if utf16 and _decodes(path, utf16):
        return _guessed(path, Encoding(utf16), _fit(path, utf16), notes)
    if utf8 and not utf16:
        return Encoding("utf-8-sig")
    fit = _fit(path, "utf-8")
    if fit.bad * 10 <= fit.characters or len(fit.bad_lines) <= max(1, FEW_LINES * fit.lines) < fit.lines:
        some = ", ".join(f"{line:,}" for line in fit.bad_lines[:5]) + (" ..." if len(fit.bad_lines) > 5 else "")
        sentence = _("{file} is UTF-8, but for lines that hold broken bytes ({lines}): their rows are left out.")
        notes.append(sentence.format(file=path.name, lines=some))
        return Encoding("utf-8-sig", broken=True)
    fit = _fit(path, "cp949")
    if fit.hangul > 0.8 * fit.characters and fit.bad * 20 <= fit.characters:
        return _guessed(path, Encoding("cp949", broken=bool(fit.bad)), fit, notes)
    if _is_western(path):
        return _guessed(path, Encoding("cp1252"), _fit(path, "cp1252"), notes)
    sentence = _("{file} is in no character set that could be recognised: save it as UTF-8.")
    raise ValueError(sentence.format(file=path.name))


def _guessed(path: Path, encoding: Encoding, fit: Fit, notes: Notes) -> Encoding:
    sentence = _("{file} is in {encoding}, and was read so. One of its lines: {line}")
    notes.append(sentence.format(file=path.name, encoding=encoding.label, line=fit.sample))
    return encoding


def _utf16(head: bytes, utf8: bool) -> str:
    """The name of UTF-16 when the head has its mark, or NUL as half of its bytes and on one side; "" when not."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    big, little = head[::2].count(0), head[1::2].count(0)
    fewer, more = sorted((big, little))
    # Korean in UTF-16 has NUL only beside ASCII; then the file is no UTF-8 either
    if fewer > 0.05 * more or not more >= (0.9 if utf8 else 0.1) * len(head) / 2 > 0:
        return ""
    return "utf-16-le" if little > big else "utf-16-be"


def _decodes(path: Path, encoding: str) -> bool:
    try:
        with path.open(encoding=encoding, newline="\n") as file:
            while file.read(1 << 14):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _fit(path: Path, encoding: str) -> Fit:
    characters = bad = hangul = number = 0
    bad_lines, sample = [], ""
    with path.open(encoding=encoding, errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.isascii():
                continue
            broken = len(BROKEN.findall(line))
            characters += sum(char > "\x7f" for char in line) - broken
            bad += broken
            if broken:
                bad_lines.append(number)
            else:
                sample = sample or line.strip()[:60]
            if encoding == "cp949":
                hangul += len(COMMON_HANGUL.findall(line.encode(encoding, "surrogateescape")))
    return Fit(characters, bad, hangul, bad_lines, number, sample)


def _is_western(path: Path) -> bool:
    """CP1252 takes nearly any byte: only letters with accents among plain ones, and typographic marks, are believed."""
    if not _decodes(path, "cp1252"):
        return False
    text = path.read_text(encoding="cp1252")
    other, letters = [char for char in text if char > "\x7f"], sum(map(str.isalpha, text))
    plausible = sum(map(bool, map(WESTERN.match, other))) > 0.8 * len(other)
    return plausible and len(other) < 0.3 * letters and not re.search("[À-ÿ]{4}", text)
