"""When is one conversation a copy of another? Needed so that nothing held out was also trained on.

Texts are compared without case, spaces and punctuation, as sets of three-character pieces: two are near copies when
they share at least 70 % of all their pieces (Jaccard similarity; Broder 1997, "On the resemblance and containment of
documents"). Only pairs that share one of their 8 smallest piece hashes are compared: a pair at 70 % is missed with
probability 0.3^8, under 1 in 10,000, and the work grows with the text, not with the number of pairs.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

PIECE = 3  # characters
NEAR = 0.7  # Jaccard similarity
SKETCH = 8  # smallest hashes kept
SHARED = 0.1  # share of a sample's conversations; pieces that more of them have are those of the task
SMALL_TALK = 20  # characters of a question and its answer; shorter ones are said everywhere
SAMPLE, SAMPLE_FROM = 200, 20  # conversations that are looked at, and how many are enough


def pieces(messages: list[dict]):
    """Sorted hashes (uint64) of the three-character pieces of what user and assistant say."""
    import numpy as np

    text = "".join(message["content"] for message in messages if message["role"] != "system")
    text = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold()) or text
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < PIECE:
        codes = np.concatenate([codes, np.zeros(PIECE - len(codes), np.uint64)])
    count = len(codes) - PIECE + 1
    packed = codes[:count].copy()
    for i in range(1, PIECE):
        packed |= codes[i : count + i] << np.uint64(21 * i)
    packed = (packed ^ (packed >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)  # spreads neighbours apart
    packed ^= packed >> np.uint64(29)
    packed.sort()
    return packed[np.append(True, packed[1:] != packed[:-1])]


def _in(some, known):
    """For each of `some`, whether it is in `known`; both sorted (numpy's own isin sorts both again)."""
    return known.take(known.searchsorted(some), mode="clip") == some


class CopyIndex:
    """The held-out conversations, ready to be compared with any number of others.

    What many conversations share (`sample` is some of them) tells nothing about two of them: pieces that a tenth of
    the sample has, such as those of one long instruction, are left out where anything else is left.
    """

    def __init__(self, conversations: list[list[dict]], sample: Sequence[list[dict]] = ()):
        import numpy as np

        every = np.concatenate([np.empty(0, np.uint64), *map(pieces, sample)])
        values, counts = np.unique(every, return_counts=True)
        self.shared = values[counts > max(len(sample) * SHARED, 2)] if len(sample) >= SAMPLE_FROM else values[:0]
        self.pieces = [self._own(messages) for messages in conversations]
        self.by_hash: dict[int, list[int]] = defaultdict(list)
        self.by_answer: dict[int, list[int]] = defaultdict(list)
        for number, known in enumerate(self.pieces):
            for value in known[:SKETCH].tolist():
                self.by_hash[value].append(number)
            for key in answer_keys(conversations[number]):
                self.by_answer[key].append(number)

    def _own(self, messages: list[dict]):
        """The pieces of `messages` less the shared ones; all of them when nothing else is left."""
        whole = pieces(messages)
        own = whole[~_in(whole, self.shared)] if len(self.shared) else whole
        return own if len(own) else whole

    def copies_of(self, messages: list[dict]) -> list[int]:
        """Numbers of the indexed conversations that `messages` is a near copy of."""
        import numpy as np

        if not self.pieces:
            return []
        mine = self._own(messages)
        candidates = {number for value in mine[:SKETCH].tolist() for number in self.by_hash.get(value, ())}
        shared = {n: np.count_nonzero(_in(mine, self.pieces[n])) for n in candidates}
        return [n for n, both in shared.items() if both >= NEAR * (len(mine) + len(self.pieces[n]) - both)]

    def seen_in(self, messages: list[dict]) -> set[int]:
        """Numbers of those that `messages` is a near copy of, or has an answer of behind the same question."""
        answers = (number for key in answer_keys(messages) for number in self.by_answer.get(key, ()))
        return {*self.copies_of(messages), *answers}


def spread(conversations: list) -> list:
    """At most SAMPLE of `conversations`, from all over them."""
    return conversations[:: max(1, len(conversations) // SAMPLE)][:SAMPLE]


def answer_keys(messages: list[dict]) -> list[int]:
    """A hash of every question and its answer, less case and spaces; "thanks" and "you're welcome" do not count."""
    question, keys = "", []
    for message in messages:
        if message["role"] == "user":
            question = message["content"]
        elif message["role"] == "assistant":
            text = "".join(f"{question}\x1e{message['content']}".casefold().split())
            if len(text) >= SMALL_TALK:
                keys.append(hash(text))
    return keys


def overlap(train: list[list[dict]], held_out: list[list[dict]]) -> tuple[int, int]:
    """How many held-out conversations training has seen (nearly, or an answer of), or asks the first question of."""
    index = CopyIndex(held_out, spread(train))
    copied = set().union(*map(index.seen_in, train))
    asked = set(map(_first_question, train))
    return len(copied), sum(_first_question(messages) in asked for messages in held_out)


def _first_question(messages: list[dict]) -> str:
    return next((turn["content"] for turn in messages if turn["role"] == "user"), messages[0]["content"])
