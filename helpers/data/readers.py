"""Rows of one local file, as they are. What had to be guessed or was not as expected is said in `notes`."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from helpers.data.encodings import BROKEN, Encoding, Notes, encoding_of
from helpers.data.formats import known_columns
from helpers.data.reasons import Reason, UnreadRow
from helpers.data.separated import csv_rows, require_other_names
from helpers.data.values import TableRow, is_turns
from helpers.show.words import _

MOST = 8  # names in a sentence
PASSAGE = 2000  # characters
LOOKED_AT = 20  # lines of a text, to see whether they are rows


def jsonl_rows(path: Path, notes: Notes, part: str = "") -> Iterator[object]:
    """One JSON value a line."""
    encoding = encoding_of(path, notes)
    if path.suffix.lower() == ".jsonl" and _is_one_list(path, encoding):
        notes.append(_("{file} holds one JSON list, and was read so.").format(file=path.name))
        return json_rows(path, [])
    return _lines(path, encoding, notes)


def _lines(path: Path, encoding: Encoding, notes: Notes) -> Iterator[object]:
    count = 0
    with encoding.open(path) as file:
        for number, line in enumerate(file, start=1):
            line = line.strip("\0 \t\r\n")
            if not line:
                continue
            count += 1
            if encoding.broken and BROKEN.search(line):
                text = f"{path.name}, line {number:,}: {line}"
                yield UnreadRow(text, Reason.BROKEN_BYTES, {"value": encoding.label})
                continue
            try:
                # strict=False: a raw control character inside of a text is the text's; it is counted later
                yield _row(json.loads(line, object_pairs_hook=_object, strict=False))
            except (ValueError, RecursionError):  # no JSON, or a number of more digits than Python reads
                yield UnreadRow(line)
    if not count:
        notes.append(_("{file} is empty.").format(file=path.name))


def _is_one_list(path: Path, encoding: Encoding) -> bool:
    """True for a list over the whole file; a list in each line is a row of its own."""
    with encoding.open(path) as file:
        first, *more = list(islice(filter(None, map(str.strip, file)), 2)) or [""]
    try:
        return first.startswith("[") and not (is_turns(json.loads(first)) or more)
    except (ValueError, RecursionError):
        return True


def json_rows(path: Path, notes: Notes, part: str = "train") -> Iterator[object]:
    """A list of objects, an object that holds rows in some shape, one conversation, or JSON lines under the name .json.

    Raises ValueError for an object with several lists, when none of them is named `part`.
    """
    encoding = encoding_of(path, notes)
    try:
        with encoding.open(path) as file:
            whole = json.load(file, object_pairs_hook=_object, strict=False)
    except (ValueError, RecursionError) as error:  # no JSON, a number of too many digits, or lists in lists in lists
        if _is_one_list(path, encoding):
            reason, line = getattr(error, "msg", type(error).__name__), getattr(error, "lineno", 1)
            sentence = _("{file} is not valid JSON ({error}, line {line:,}): was it cut off?")
            raise ValueError(sentence.format(file=path.name, error=reason, line=line)) from None
        return _lines(path, encoding, notes)
    if whole == []:
        notes.append(_("{file} is an empty list.").format(file=path.name))
    if isinstance(whole, dict):
        return map(_row, _rows_of_object(whole, path, notes, part))
    return map(_row, whole if isinstance(whole, list) and not is_turns(whole) else [whole])


def _rows_of_object(whole: dict, path: Path, notes: Notes, part: str) -> list:
    """The rows of an object: whole columns, one conversation, a row under each key, or the one list in it."""
    if columns := _columns(whole):
        notes.append(_("{file} holds columns instead of rows, and was read so.").format(file=path.name))
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    values = list(whole.values())
    if known_columns(whole) and not any(isinstance(value, list) and any(map(_is_row, value)) for value in values):
        notes.append(_("{file} holds one conversation.").format(file=path.name))
        return [whole]
    if 2 * sum(map(_is_row, values)) > len(values):
        notes.append(_("{file} holds a row under each key, and was read so.").format(file=path.name))
        return values
    lists = [name for name, value in whole.items() if isinstance(value, list)]
    if not lists:
        raise ValueError(_("{file} holds no list of rows: keep one list of rows.").format(file=path.name))
    name = part if part in lists else lists[0]
    if len(lists) > 1 and name != part:
        sentence = _("{file} holds the lists {names}: keep one list of rows.")
        raise ValueError(sentence.format(file=path.name, names=", ".join(lists[:MOST])))
    if left := [repr(other) for other in whole if other != name]:
        sentence = _("{file}: {name!r} was read, {others} was not.")
        notes.append(sentence.format(file=path.name, name=name, others=", ".join(left[:MOST])))
    return whole[name]


def _columns(whole: dict) -> dict[str, list]:
    """Name -> values of an object that holds whole columns (as pandas' `to_json` writes them); {} for any other."""
    if whole.keys() >= {"columns", "data"} and all(isinstance(row, list) for row in whole["data"]):  # orient="split"
        whole = dict(zip(whole["columns"], map(list, zip(*whole["data"], strict=False)), strict=False))
    if len(whole) < 2 or not all(isinstance(column, (dict, list)) for column in whole.values()):
        return {}
    values = [list(column.values()) if isinstance(column, dict) else column for column in whole.values()]
    texts = any(
        all(isinstance(value, str) or is_turns(value) for value in column) for column in values
    )  # an id is none
    plain = texts and known_columns(whole) and not any(map(is_turns, values))
    same = all(len(column) == len(values[0]) > 0 for column in values)
    return dict(zip(whole, values, strict=True)) if plain and same else {}


def parquet_rows(path: Path, notes: Notes, part: str = "") -> Iterator[dict]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
        require_other_names(path, file.schema_arrow.names)
        if not file.metadata.num_rows:
            notes.append(_("{file} has no row.").format(file=path.name))
        for batch in file.iter_batches(batch_size=1000):
            yield from map(TableRow, batch.to_pylist())
    except (ArrowException, OSError) as error:
        sentence = _("{file} cannot be read as Parquet ({error}): download it again, and look at its size.")
        raise ValueError(sentence.format(file=path.name, error=str(error).rstrip("."))) from None


def text_rows(path: Path, notes: Notes, part: str = "") -> Iterator[object]:
    """The whole file as one text."""
    encoding = encoding_of(path, notes)
    with encoding.open(path) as file:
        text = file.read()
    if encoding.broken and BROKEN.search(text):
        yield UnreadRow(f"{path.name}: {text[:60]}", Reason.BROKEN_BYTES, {"value": encoding.label})
    else:
        yield {"text": text, "source": path.name}


def passages(path: Path, notes: Notes) -> Iterator[object]:
    """A text that is alone, cut at blank lines into about `PASSAGE` characters: some passages can be held out.

    Raises ValueError for JSON lines or a table under the name of a text.
    """
    (row,) = text_rows(path, notes)
    if not isinstance(row, dict):
        return iter([row])
    if ending := _ending_of_rows(row["text"]):
        sentence = _("{file} holds rows and no running text: give it the ending {ending}.")
        raise ValueError(sentence.format(file=path.name, ending=ending))
    parts = [""]
    for paragraph in re.split(r"\n\s*\n", row["text"]):
        if parts[-1] and len(parts[-1]) + len(paragraph) > PASSAGE:
            parts.append("")
        parts[-1] += f"\n\n{paragraph}" if parts[-1] else paragraph
    sentence = _("{file} is one text: read as {count} passages, cut at blank lines, some of which are held out.")
    notes.append(sentence.format(file=path.name, count=len(parts)))
    return ({**row, "text": text} for text in parts)


def _ending_of_rows(text: str) -> str:
    """What a file should be called whose first lines are JSON objects or tab-separated fields; "" for a text."""
    lines = list(islice(filter(None, map(str.strip, text.splitlines())), LOOKED_AT))
    if len(lines) < 3:
        return ""
    if all(line.startswith("{") and line.endswith("}") for line in lines):
        return ".jsonl"
    tabs = {line.count("\t") for line in lines}
    return ".tsv" if len(tabs) == 1 and tabs != {0} else ""


def _object(pairs: list[tuple]) -> dict | UnreadRow:
    """A JSON object; not read where a field stands twice, since json.loads would keep the last alone."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _value in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    return UnreadRow(str(pairs), Reason.FIELD_TWICE, {"value": twice[:40]})


def _row(value: object) -> object:
    """A row as it is; a list of turns is a conversation."""
    return {"messages": value} if is_turns(value) else value


def _is_row(value: object) -> bool:
    return is_turns(value) or (isinstance(value, dict) and known_columns(value))


TEXTS = (".txt", ".md")
READERS = {".jsonl": jsonl_rows, ".json": json_rows, ".csv": csv_rows, ".tsv": csv_rows, ".parquet": parquet_rows}
READERS |= dict.fromkeys(TEXTS, text_rows)
