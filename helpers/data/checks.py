"""How one row fails each check of `limits`.

The checks read token ids and labels back and compare them with the conversations; they do not use the code that made
the labels.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from helpers.data.labels import CONTEXT
from helpers.data.limits import Check
from helpers.data.normalise import ROLE_TOKEN, texts_of
from helpers.settings import RunConfig
from helpers.template.capabilities import split_thinking
from helpers.template.chat import render, stop_ids
from helpers.template.spans import DOCUMENT, is_document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WRITES = ("assistant", DOCUMENT)  # whose words the model learns


class Special(NamedTuple):
    """The tokens of a tokenizer that the checks look for."""

    ends: frozenset[int]  # may end a turn
    stops: frozenset[int]  # end a reply
    bos: int | None
    begins_with_bos: bool  # as the template wants it
    unknown: int | None
    control: re.Pattern  # the texts of the control tokens

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Special:
        special = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        texts = {*special.values(), *tokenizer.all_special_tokens} - {"<think>", "</think>"}
        texts = {text for text in texts if not text.isalnum()}  # a plain word is no control token inside a text
        bos: Any = tokenizer.bos_token_id
        unknown: Any = tokenizer.unk_token_id
        if unknown in (bos, tokenizer.eos_token_id):
            unknown = None  # it has another use
        control = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))
        begins = render(tokenizer, [{"role": "user", "content": "?"}]).startswith(str(tokenizer.bos_token or "\0"))
        stops = frozenset(stop_ids(tokenizer))
        return cls(stops.union(special), stops, bos, begins, unknown, control)


@dataclass
class Row:
    """One row out of the collator's batch, beside the conversation that it was made of."""

    messages: list[dict]
    full: dict[str, list[int]]  # its encoding before the cut
    ids: list[int]
    labels: list[int]
    tokenizer: PreTrainedTokenizerBase
    special: Special
    config: RunConfig

    @cached_property
    def answers(self) -> list[dict]:
        return [turn for turn in self.messages if turn["role"] in WRITES and turn.get("train", True)]

    @cached_property
    def whole(self) -> bool:
        """True for a raw text: where it is longer than a row, it goes on in the next."""
        return is_document(self.messages)

    @cached_property
    def runs(self) -> list[list[int]]:
        """The learned tokens, neighbours together."""
        return [list(run) for learned, run in groupby(self.labels, lambda label: label != CONTEXT) if learned]

    @cached_property
    def cut_off(self) -> bool:
        return any(label != CONTEXT for label in self.full["labels"][self.config.max_length :])

    @cached_property
    def has_control(self) -> bool:
        texts = [text for message in self.messages for text in texts_of(message)]
        return any(ROLE_TOKEN.search(text) or self.special.control.search(text) for text in texts)

    @cached_property
    def has_unknown(self) -> bool:
        return self.special.unknown is not None and self.special.unknown in self.ids

    @cached_property
    def comparable(self) -> bool:
        """Can what is learned be read back? Not where it is cut off, or holds what decodes to something else."""
        return not (self.cut_off or self.has_control or self.has_unknown)

    @cached_property
    def between(self) -> str | None:
        """What is learned besides the answers; None when one of them is missing."""
        text = self.tokenizer.decode([token for run in self.runs for token in run])
        return without_answers(plain(self.special.control.sub(" ", text)), self.answers)


def is_comparable(encoded: dict) -> bool:
    """One label for each token, each -100 or the id of some token: else nothing more can be asked of the row."""
    ids, labels = encoded["input_ids"], encoded["labels"]
    return len(ids) == len(labels) and all(label >= 0 or label == CONTEXT for label in labels)


def user_text_is_learned(row: Row) -> bool:
    if not row.config.answer_only_loss or not row.comparable or row.between is None:
        return False
    others = [plain(message["content"]) for message in row.messages if message not in row.answers]
    return any(text and text in row.between for text in others)


def end_is_missing(row: Row) -> bool:
    """A learned piece must end with a control token, white space aside; the last answer with one that stops a reply."""
    if row.cut_off:
        return False
    ends, stops = row.special.ends, row.special.stops
    if not row.config.answer_only_loss:
        return sum(token in ends for run in row.runs for token in run) < len(row.answers)
    last = [next((i for i in reversed(run) if str(row.tokenizer.decode([i])).strip()), None) for run in row.runs]
    last_is_learned = bool(row.answers) and row.answers[-1] is row.messages[-1]
    return not ends.issuperset(last) or (last_is_learned and last[-1] not in stops)


def bos_is_wrong(row: Row) -> bool:
    bos, wanted = row.special.bos, row.special.begins_with_bos
    return bos is not None and (row.ids[:2] == [bos, bos] or (wanted and row.ids[0] != bos))


ROW_CHECKS: dict[Check, Callable[[Row], bool]] = {
    Check.CUT_OFF: lambda row: row.cut_off and not row.whole,
    Check.LONGER: lambda row: len(row.full["input_ids"]) > row.config.max_length and not row.whole,
    Check.PLACE: lambda row: any(label not in (CONTEXT, i) for i, label in zip(row.ids, row.labels, strict=True)),
    Check.UNKNOWN: lambda row: row.has_unknown,
    Check.NOT_LEARNED: lambda row: row.comparable and row.between is None,
    Check.USER_LEARNED: user_text_is_learned,
    Check.NO_END: end_is_missing,
    Check.BOS: bos_is_wrong,
    Check.CONTROL: lambda row: row.has_control,
}


def without_answers(learned: str, answers: list[dict]) -> str | None:
    """What of `learned` is left without the answers, their thoughts and tool calls; None when an answer is missing."""
    rest, position = [], 0
    for number, answer in enumerate(map(split_thinking, answers)):
        thought, text = plain(answer.get("reasoning_content", "")), plain(answer["content"])
        at = learned.find(thought, position) if thought else -1
        if at >= 0:
            rest.append(learned[position:at])
            position = at + len(thought)
        at = learned.find(text, position)
        if at < 0 and thought and number + 1 < len(answers):
            continue  # an earlier thought is hidden at use, and its answer is only read
        if at < 0:
            return None
        rest.append(learned[position:at])
        position = at + len(text)
        if calls := answer.get("tool_calls"):  # their arguments often repeat what the user said
            last = max(learned.rfind(plain(call["function"]["name"]), position) for call in calls)
            following = [learned.find(plain(later["content"]), last) for later in answers[number + 1 : number + 2]]
            position = next((place for place in following if place >= 0), len(learned))
    return re.sub("</?think>", "\n", "\n".join([*rest, learned[position:]]))


def plain(text: str) -> str:
    """`text` without what decoding may change: spaces, and characters that look the same."""
    return "".join(unicodedata.normalize("NFKC", text).split())
