"""Rows of one local file, as they are. What had to be guessed or was not as expected is said in `notes`."""

from __future__ import annotations

import codecs
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

Notes = list[str]  # sentences for the reader


class Unread(str):
    """The text of a row that cannot be read, and why."""

    why = "not a JSON object, or not one value per column"

    def __new__(cls, text: str, why: str = why):
        unread = super().__new__(cls, text)
        unread.why = why
        return unread


def encoding_of(path: Path, notes: Notes) -> str:
    """UTF-8, or what the bytes of the file show instead (UTF-16 of Excel, CP949 of Korean Windows), which is noted.

    Raises ValueError when nothing fits the whole file.
    """
    head = path.open("rb").read(4096)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found = "utf-16"
    elif b"\0" in head:
        found = "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    elif _decodes(path, "utf-8"):
        return "utf-8-sig"
    elif (korean := _decodes(path, "cp949")) and korean > 0.8:
        found = "cp949"
    else:
        from charset_normalizer import from_path

        best = from_path(path).best()
        found = best.encoding if best else ""
    if not found or not _decodes(path, found):
        raise ValueError(f"{path.name} is in no character set that could be recognised: save it as UTF-8.")
    notes.append(f"{path.name} is in {found.upper().replace('_', '-')}, and was read so.")
    return found


def _decodes(path: Path, encoding: str) -> float:
    """0 when the file is not in this encoding; else 1, or for CP949 the share of Hangul in what is not ASCII."""
    decoder, hangul, other = codecs.getincrementaldecoder(encoding)(), 0, 0
    with path.open("rb") as file:
        try:
            while chunk := file.read(1 << 20):
                text = decoder.decode(chunk)
                if encoding == "cp949":
                    hangul += sum("가" <= char <= "힣" for char in text)
                    other += sum(char > "\x7f" for char in text)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return 0
    return hangul / max(other, 1) if encoding == "cp949" else 1


def csv_rows(path: Path, notes: Notes) -> Iterator[dict | str]:
    """Rows of comma-, semicolon- or tab-separated text. Raises ValueError that names the line of a quotation mark gone wrong."""
    csv.field_size_limit(sys.maxsize)  # the standard limit, 131,072 characters, is shorter than a long conversation
    encoding = encoding_of(path, notes)
    with path.open(encoding=encoding, newline="") as file:
        first = file.readline()
        delimiter = max("\t,;" if path.suffix.lower() == ".tsv" else ",\t;", key=first.count)
        literal = delimiter == "\t" and not _quotes_quote(path, encoding)
        file.seek(0)
        lines = csv.reader(
            file, delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONE if literal else csv.QUOTE_MINIMAL
        )
        if delimiter != {".tsv": "\t"}.get(path.suffix.lower(), ","):
            notes.append(
                f"{path.name} is separated by {'tabs' if delimiter == chr(9) else 'semicolons'}, and was read so."
            )
        _, header = _next_line(lines, path)
        names = [name.strip() for name in header or []]
        if twice := next((name for name in names if name and names.count(name) > 1), ""):
            raise ValueError(f"{path.name} has two columns of the name {twice!r}: rename or remove one.")
        several, longest, count, fields = 0, (0, 0), 0, header
        while fields is not None:
            start, fields = _next_line(lines, path)
            if not fields:
                continue
            count += 1
            if (more := lines.line_num - start) > 0:
                several, longest = several + 1, max(longest, (more + 1, start))
            if len(fields) != len(header):
                yield Unread(json.dumps(fields, ensure_ascii=False))
            elif more > 1 and (swallowed := _rows_inside(fields, delimiter, len(header))):
                yield Unread(
                    delimiter.join(fields),
                    f"a quotation mark that swallowed rows ({path.name}, line {start}: {swallowed} rows)",
                )
            else:
                yield dict(zip(header, fields, strict=True))
    if several:
        told = f"{several:,} rows of {path.name} go over several lines, the longest over {longest[0]:,} from line {longest[1]:,}"
        notes.append(f"{told}: is that one text, or a quotation mark that was not closed?")
    if not count:
        told = f"has a header ({', '.join(names)}) and no row" if names else "is empty"
        notes.append(f"{path.name} {told}.")


def _next_line(lines, path: Path) -> tuple[int, list[str] | None]:
    """The line where the next row begins, and its fields; None at the end."""
    start = lines.line_num + 1
    try:
        return start, next(lines, None)
    except csv.Error as error:
        if "end of data" in str(error):
            raise ValueError(
                f"{path.name}: the quotation mark that opens in line {start:,} is never closed: close it, or remove it."
            ) from None
        raise ValueError(
            f"{path.name}, line {start:,}: text follows a closing quotation mark ({error}). Inside a field in quotation "
            'marks, each of its own is written twice: "she said ""yes"" to me".'
        ) from None


def _rows_inside(fields: list[str], delimiter: str, width: int) -> int:
    """Lines inside of a field that look like whole rows; 0 where one does not, for then it is text."""
    inner = [line for field in fields if field.count("\n") > 1 for line in field.splitlines()[1:-1] if line]
    looks_so = len(inner) > 2 and width > 1 and all(line.count(delimiter) == width - 1 for line in inner)
    return len(inner) if looks_so else 0


def _quotes_quote(path: Path, encoding: str) -> bool:
    """True when the quotation marks of a tab-separated file really quote: then every row has as many fields as the header."""
    with path.open(encoding=encoding, newline="") as file:
        if not any(field.startswith('"') for line in file for field in line.split("\t")):
            return False
        file.seek(0)
        try:
            lines = csv.reader(file, delimiter="\t", strict=True)
            width = len(next(lines, []))
            return all(
                not row or (len(row) == width and not any("\n" in f and "\t" in f for f in row)) for row in lines
            )
        except csv.Error:
            return False


def _object(pairs: list[tuple]) -> dict | Unread:
    """A JSON object; one whose field stands twice is not read, since json.loads would keep the last of the two alone."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    return Unread(str(pairs), f"the field {twice[:40]} stands twice in one object")


def jsonl_rows(path: Path, notes: Notes) -> Iterator[dict | str]:
    with path.open(encoding=encoding_of(path, notes)) as file:
        if path.suffix.lower() == ".jsonl" and file.read(1) == "[":  # a list under the wrong name
            notes.append(f"{path.name} holds one JSON list, and was read so.")
            yield from json_rows(path, [])
            return
        file.seek(0)
        count = 0
        for line in file:
            if line.strip():
                count += 1
                try:
                    yield json.loads(line, object_pairs_hook=_object)
                except (json.JSONDecodeError, RecursionError):
                    yield Unread(line)
    if not count:
        notes.append(f"{path.name} is empty.")


def json_rows(path: Path, notes: Notes, part: str = "train") -> Iterator[dict | str]:
    """A list of objects, an object that holds one list, one conversation, or JSON lines under the name .json.

    Raises ValueError for an object with several lists, when none of them is named `part`.
    """
    from helpers.data.formats import recognise

    encoding = encoding_of(path, notes)
    with path.open(encoding=encoding) as file:
        try:
            whole = json.load(file, object_pairs_hook=_object)
        except json.JSONDecodeError as error:
            file.seek(0)
            if file.read(1) == "[":
                raise ValueError(
                    f"{path.name} is not valid JSON ({error.msg}, line {error.lineno:,}): was it cut off?"
                ) from None
            whole = None
    if whole is None:
        yield from jsonl_rows(path, [] if encoding != "utf-8-sig" else notes)
        return
    if isinstance(whole, Unread):
        yield whole
        return
    if isinstance(whole, list):
        if not whole:
            notes.append(f"{path.name} is an empty list.")
        yield from whole
        return
    if columns := _columns(whole):
        notes.append(f"{path.name} holds columns instead of rows, and was read so.")
        yield from (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        return
    try:
        recognise([whole])
        notes.append(f"{path.name} holds one conversation.")
        yield whole
        return
    except ValueError:
        lists = (
            {name: value for name, value in whole.items() if isinstance(value, list)} if isinstance(whole, dict) else {}
        )
    name = part if part in lists else next(iter(lists), "")
    if not lists or (len(lists) > 1 and name != part):
        raise ValueError(
            f"{path.name} holds {'the lists ' + ', '.join(lists) if lists else 'no list of rows'}: keep one list of rows."
        )
    if left := [other for other in whole if other != name]:
        notes.append(f"{path.name}: {name!r} was read, {', '.join(map(repr, left))} was not.")
    yield from lists[name]


def _columns(whole: object) -> dict[str, list]:
    """Name -> values of an object that holds whole columns (as pandas' `to_json` writes them); {} for any other."""
    if not isinstance(whole, dict) or len(whole) < 2:
        return {}
    values = [list(column.values()) if isinstance(column, dict) else column for column in whole.values()]
    if not all(isinstance(column, list) and len(column) == len(values[0]) > 0 for column in values):
        return {}
    plain = all(isinstance(value, str) for value in values[0])
    return dict(zip(whole, values, strict=True)) if plain else {}


def parquet_rows(path: Path, notes: Notes) -> Iterator[dict]:
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(path)
    if not file.metadata.num_rows:
        notes.append(f"{path.name} has no row.")
    for batch in file.iter_batches(batch_size=1000):
        yield from batch.to_pylist()


READERS = {".jsonl": jsonl_rows, ".json": json_rows, ".csv": csv_rows, ".tsv": csv_rows, ".parquet": parquet_rows}
