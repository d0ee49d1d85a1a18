"""Which conversations are held out: rows that begin alike go to one side, and none that training has seen is kept.

The unit of the draw is a beginning: the system turn and the first question. Its key is the xor of the keys of its
conversations, so the draw is seeded and does not depend on the order of the rows.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset


def conversation_key(messages: list[dict], seed: int) -> int:
    """64 bits that are the same for the same conversation, to the letter; another seed gives another number."""
    text = "\x1e".join(f"{message['role']}\x1f{message['content']}" for message in messages)
    more = [m[key] for m in messages for key in ("reasoning_content", "tool_calls") if key in m]
    return _bits(text + (f"\x1e{more}" if more else ""), str(seed))


def beginning_key(messages: list[dict]) -> int:
    """64 bits that are the same for conversations with the same system turn and first question; case and spaces do
    not count."""
    texts = []
    for message in messages:
        texts.append("".join(message["content"].casefold().split()))
        if message["role"] == "user":
            break
    return _bits("\x1e".join(texts), "")


def units(keys: array, beginnings: array) -> array:
    """The unit of the draw for each conversation: its beginning, or itself where most conversations begin so."""
    import numpy as np

    values, sizes = np.unique(np.asarray(beginnings, dtype=np.uint64), return_counts=True)
    common = set(values[sizes * 2 > len(keys)].tolist())
    if not common:
        return beginnings
    return array("Q", (key if begins in common else begins for key, begins in zip(keys, beginnings, strict=True)))


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
        if not left:
            break
    return found or {int(values[sizes.argmin()])}


def split_pairs(pairs: Dataset, share: float, seed: int) -> dict[str, Dataset]:
    """ "train" and "test" as `Dataset.train_test_split` draws them, but pairs whose prompts begin alike stay
    together."""
    from datasets import Dataset

    places: dict[int, list[int]] = {}
    for place, prompt in enumerate(pairs["prompt"]):
        places.setdefault(beginning_key(prompt), []).append(place)
    alike = list(places.values())
    drawn = Dataset.from_dict({"number": range(len(alike))}).train_test_split(test_size=share, seed=seed)
    sides = {name: [place for number in drawn[name]["number"] for place in alike[number]] for name in drawn}
    return {name: pairs.select(chosen) for name, chosen in sides.items()}


def _bits(text: str, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=key.encode()).digest())
