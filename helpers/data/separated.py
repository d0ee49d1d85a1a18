"""Rows of comma-, semicolon- or tab-separated text; a quotation mark gone wrong is named by its line."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from helpers.data.encodings import BROKEN, Encoding, Notes, encoding_of
from helpers.data.reasons import Reason, UnreadRow
from helpers.show.words import _

MOST_FIT = 0.95  # share of the rows: one that is broken says nothing about the marks of the others


@dataclass
class Lines:
    """The lines of one file as fields, and what is noted about them at the end."""

    path: Path
    reader: Any  # of the csv module
    delimiter: str
    encoding: Encoding
    rows: int = 0
    fit: int = 0  # rows that were read, and the characters of their first fields together
    begin: int = 0
    several: int = 0  # rows that go over several lines
    marked: int = 0  # fields between quotation marks that were read as letters
    longest: tuple[int, int] = (0, 0)  # lines of the longest row, and where it begins

    def next(self) -> tuple[int, list[str] | None]:
        """The line where the next row begins, and its fields; None at the end."""
        start = self.reader.line_num + 1
        try:
            return start, next(self.reader, None)
        except csv.Error as error:
            sentence = _(
                "{file}, line {line:,}: text follows a closing quotation mark ({error}). Inside a field in quotation "
                'marks, each of its own is written twice: "she said ""yes"" to me".'
            )
            if "end of data" in str(error):
                sentence = _(
                    "{file}: the quotation mark that opens in line {line:,} is never closed: close or remove it."
                )
            raise ValueError(sentence.format(file=self.path.name, line=start, error=error)) from None

    def row(self, start: int, fields: list[str], header: list[str]) -> dict | UnreadRow:
        """The fields of the row that begins in line `start`, by name."""
        more, text = self.reader.line_num - start, self.delimiter.join(fields)
        self.rows += 1
        mark = '"' if self.reader.dialect.quoting == csv.QUOTE_NONE else ' "'
        self.marked += sum(field.startswith(mark) and field.rstrip().endswith('"', len(mark)) for field in fields)
        if more > 0:
            self.several += 1
            self.longest = max(self.longest, (more + 1, start))
        if self.encoding.broken and BROKEN.search(text):
            text = f"{self.path.name}, line {start:,}: {text}"
            return UnreadRow(text, Reason.BROKEN_BYTES, {"value": self.encoding.label})
        if len(fields) != len(header):
            return UnreadRow(json.dumps(fields, ensure_ascii=False))
        if more > 1 and (swallowed := _rows_inside(fields, self.delimiter, self.begin / (self.fit or 1))):
            where = f"{self.path.name}, line {start}: {swallowed} rows"
            return UnreadRow(text, Reason.SWALLOWED, {"value": where})
        self.fit += 1
        self.begin += len(fields[0])
        return dict(zip(header, fields, strict=True))

    def note(self, header: list[str], notes: Notes) -> None:
        if self.several:
            sentence = _(
                "{rows:,} rows of {file} go over several lines, the longest over {lines:,} from line {start:,}: is "
                "that one text, or a quotation mark that was not closed?"
            )
            lines, start = self.longest
            notes.append(sentence.format(rows=self.several, file=self.path.name, lines=lines, start=start))
        if self.marked:
            sentence = _(
                "{file}: {fields:,} fields stand between quotation marks, which are learned as letters: not all rows "
                "fit when the marks quote."
            )
            notes.append(sentence.format(file=self.path.name, fields=self.marked))
        if not self.rows:
            sentence = _("{file} has a header ({names}) and no row.") if header else _("{file} is empty.")
            notes.append(sentence.format(file=self.path.name, names=", ".join(header)))


def csv_rows(path: Path, notes: Notes, part: str = "") -> Iterator[dict | UnreadRow]:
    """Rows of a file with a header. Raises ValueError that names the line of a quotation mark gone wrong."""
    csv.field_size_limit(sys.maxsize)  # the standard limit, 131,072 characters, is shorter than a long conversation
    encoding = encoding_of(path, notes)
    with encoding.open(path, newline="") as file:
        first, start = _first_line(file)
        delimiter = _delimiter(path, first, notes)
        how = _quoting(file, start, delimiter)
        file.seek(start)
        reader = csv.reader(file, delimiter=delimiter, strict=True, **how)
        lines = Lines(path, reader, delimiter, encoding)
        header = lines.next()[1] or []
        require_other_names(path, header)
        start, fields = lines.next()
        while fields is not None:
            if any(map(str.strip, fields)):  # a table program writes its empty rows, too
                yield lines.row(start, fields, header)
            start, fields = lines.next()
    lines.note(header, notes)


def require_other_names(path: Path, header: list[str]) -> None:
    """Raises ValueError for two columns of one name, of which a row would hold the last alone."""
    names = [name.strip() for name in header if name.strip()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        sentence = _("{file} has two columns of the name {name!r}: rename or remove one.")
        raise ValueError(sentence.format(file=path.name, name=twice))


def _first_line(file: IO[str]) -> tuple[str, int]:
    """The line of the header and where it begins: behind empty lines, and behind Excel's own "sep=;"."""
    start, line = 0, file.readline()
    while line and (not line.strip() or line.startswith("sep=")):
        start, line = file.tell(), file.readline()
    return line, start


def _delimiter(path: Path, first: str, notes: Notes) -> str:
    """What separates the names of the header; noted when the file's own ending says another."""
    expected = "\t" if path.suffix.lower() == ".tsv" else ","
    found = max(expected + ",\t;|", key=first.count)
    if found != expected:
        name = {"\t": _("tabs"), ";": _("semicolons"), ",": _("commas"), "|": _("vertical bars")}[found]
        notes.append(_("{file} is separated by {sign}, and was read so.").format(file=path.name, sign=name))
    return found


def _rows_inside(fields: list[str], delimiter: str, begin: float) -> int:
    """Lines inside of a field that are whole rows, swallowed by a quotation mark; 0 where they are its own text.

    The mark opened in one row and closed in a later one: so the first line goes on to the end of its row, the last has
    what stands before the field, and those between begin with about as many characters as rows do (`begin`).
    """
    more = len(fields) - 1
    for place, field in enumerate(fields if more else ()):
        lines = [line for line in field.splitlines() if line]
        counts = [line.count(delimiter) for line in lines]
        if len(lines) < 5 or counts != [more - place, *[more] * (len(lines) - 2), place]:
            continue
        inner = lines[1:-1]
        if begin / 2 < sum(len(line.split(delimiter)[0]) for line in inner) / len(inner) < begin * 2:
            return len(inner)
    return 0


def _quoting(file: IO[str], start: int, delimiter: str) -> dict:
    """How to read quotation marks: as letters where tab-separated rows do not fit else, behind a blank where all do."""
    file.seek(start)
    if delimiter == "\t":
        begins = any(field.startswith('"') for line in file for field in line.split("\t"))
        return {} if begins and _fits(file, start, delimiter) else {"quoting": csv.QUOTE_NONE}
    header = file.readline()
    rows = Counter(f'{delimiter} "' in line for line in file if line.strip())
    usual = f"{delimiter} " in header or rows[True] > rows[False]
    fits = rows[True] and usual and _fits(file, start, delimiter, skipinitialspace=True)
    return {"skipinitialspace": True} if fits else {}


def _fits(file: IO[str], start: int, delimiter: str, **how) -> bool:
    """Is nearly every row as wide as the header when quotation marks quote, and is no tab-separated row swallowed?"""
    file.seek(start)
    lines = csv.reader(file, delimiter=delimiter, strict=True, **how)
    try:
        width, fit = len(next(lines, [])), Counter()
        for row in filter(None, lines):
            if delimiter == "\t" and any("\n" in field and "\t" in field for field in row):
                return False
            fit[len(row) == width] += 1
    except csv.Error:
        return False
    return fit[True] >= MOST_FIT * fit.total()
