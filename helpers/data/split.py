"""Which conversations are held out, or left out by hand: rows that begin alike go to one side.

The unit of the draw is a beginning: the system turn and the first question. Its key is the xor of the keys of its
conversations, so the draw is seeded and does not depend on the order of the rows.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from helpers.files import read_json, write_json
from helpers.runs import RunDir

if TYPE_CHECKING:
    from datasets import Dataset


TOGETHER = 50  # conversations that share an answer; what more of them have is said everywhere
MOST_SHARE = 0.75  # of the conversations
BEGINNING = 60  # characters of a row that stand beside its hash, for whoever reads the file


def conversation_key(messages: list[dict], seed: int, tools: Sequence[dict] = ()) -> int:
    """64 bits that are the same for the same conversation, to the letter; another seed gives another number.

    With `tools`, those that the assistant may call belong to it: what it says may be right with some of them only.
    """
    text = "\x1e".join(f"{message['role']}\x1f{message['content']}" for message in messages)
    more = [m[key] for m in messages for key in ("reasoning_content", "tool_calls") if key in m] + [*tools]
    return _bits(text + (f"\x1e{more}" if more else ""), str(seed))


def beginning_key(messages: list[dict]) -> int:
    """64 bits that are the same for the same system turn and first question, to the letters and digits.

    What is put together needlessly goes to one side, and nothing is lost; what is not would be held out and trained on.
    """
    texts = []
    for message in messages:
        text = same_text(unicodedata.normalize("NFKC", message["content"]))
        texts.append("".join(filter(str.isalnum, text)) or text)
        if message["role"] == "user":
            break
    return _bits("\x1e".join(texts), "")


def same_text(text: str) -> str:
    """`text` without what does not make it another one: case, spaces, and how Unicode puts a letter together."""
    return "".join(unicodedata.normalize("NFC", text).casefold().split())


def units(keys: array, beginnings: array) -> array:
    """The unit of the draw for each conversation: its beginning, or itself where most conversations begin so."""
    import numpy as np

    values, sizes = np.unique(np.asarray(beginnings, dtype=np.uint64), return_counts=True)
    common = set(values[sizes * 2 > len(keys)].tolist())
    if not common:
        return beginnings
    return array("Q", (key if begins in common else begins for key, begins in zip(keys, beginnings, strict=True)))


def joined_units(unit_of: array, answers: array, rows: array) -> array:
    """`unit_of`, with units made one that share an answer behind its question; as it is, where few share one.

    Windows and ends of one conversation begin otherwise: held out alone, nearly every one would have been trained on.
    `answers`: the key of every answer, and the number of its conversation in `rows`.
    """
    import numpy as np

    _values, place, sizes = np.unique(np.asarray(answers, dtype=np.int64), return_inverse=True, return_counts=True)
    shared = (sizes[place] > 1) & (sizes[place] <= TOGETHER)
    owners = np.asarray(rows)[shared].tolist()
    if len(set(owners)) < MOST_SHARE * len(unit_of):
        return unit_of
    parent: dict[int, int] = {}

    def top(unit: int) -> int:
        while unit in parent:
            unit = parent[unit]
        return unit

    first: dict[int, int] = {}
    for answer, row in zip(place[shared].tolist(), owners, strict=True):
        one, other = top(unit_of[row]), top(first.setdefault(answer, unit_of[row]))
        if one != other:
            parent[max(one, other)] = min(one, other)
    joined = array("Q", map(top, unit_of))
    return joined if max(Counter(joined).values(), default=0) * 2 <= len(joined) else unit_of


def held_out_units(keys: array, unit_of: array, wanted: int) -> set[int]:
    """The units to hold out: together at most `wanted` conversations, at least one unit where two are there.

    Units are drawn in the order of their keys; one that is too large for what is still wanted stays in training.
    """
    import numpy as np

    values, place, sizes = np.unique(np.asarray(unit_of, dtype=np.uint64), return_inverse=True, return_counts=True)
    if wanted < 1 or len(values) < 2:
        return set()
    drawn = np.zeros(len(values), np.uint64)
    np.bitwise_xor.at(drawn, place, np.asarray(keys, dtype=np.uint64))
    found, left = set(), wanted
    for number in np.argsort(drawn, kind="stable").tolist():
        if sizes[number] <= left:
            found.add(int(values[number]))
            left -= int(sizes[number])
    return found or {int(values[sizes.argmin()])}


def split_pairs(pairs: Dataset, share: float, seed: int) -> dict[str, Dataset]:
    """ "train" and "test" as `Dataset.train_test_split` draws them, but prompts that begin alike stay together."""
    from datasets import Dataset

    places: dict[int, list[int]] = {}
    for place, prompt in enumerate(pairs["prompt"]):
        places.setdefault(beginning_key(prompt), []).append(place)
    alike = list(places.values())
    drawn = Dataset.from_dict({"number": range(len(alike))}).train_test_split(test_size=share, seed=seed)
    sides = {name: [place for number in drawn[name]["number"] for place in alike[number]] for name in drawn}
    return {str(name): pairs.select(chosen) for name, chosen in sides.items()}


def row_hash(row: dict) -> str:
    """16 hexadecimal digits that a conversation has in every run, whatever its seed."""
    return f"{conversation_key(row['messages'], 0):016x}"


def left_out(run: RunDir) -> dict[str, str]:
    """The rows that somebody took out of the training part: hash -> how the row begins. 03 obeys data/left_out.json."""
    return read_json(run.left_out)["rows"] if run.left_out.exists() else {}


def leave_out(run: RunDir, rows: Iterable[dict]) -> int:
    """Put conversations on the list of `run`; how many stand there now. 03 has to run again."""
    listed = left_out(run) | {row_hash(row): row["messages"][-1]["content"][:BEGINNING] for row in rows}
    run.left_out.parent.mkdir(parents=True, exist_ok=True)
    write_json(run.left_out, {"schema": 1, "rows": listed})
    return len(listed)


def _bits(text: str, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=key.encode()).digest())
