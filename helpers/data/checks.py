"""Every check by its name: its limit, what to do, and how one row fails it.

The checks read token ids and labels back and compare them with the conversations; they do not use the code that made
the labels.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from helpers.data.labels import CONTEXT
from helpers.data.normalise import ROLE_TOKEN
from helpers.settings import RunConfig
from helpers.show.verdict import Verdict
from helpers.show.words import N_, _
from helpers.template.capabilities import split_thinking
from helpers.template.chat import render, stop_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Check(StrEnum):
    """The name of a verdict: in data_report.json in English, on a page in the reader's language."""

    # of the rows as they were read
    ROWS_LOST = N_("rows lost")
    MARKS = N_("answers taken away by a mark")
    LEFTOVERS = N_("leftovers of an export")
    # of the labels, row by row
    TEMPLATE = N_("template changes the text")
    NOTHING = N_("nothing to learn")
    CUT_OFF = N_("answer cut off by max_length")
    LONGER = N_("longer than max_length")
    PLACE = N_("label of another place")
    NOT_LEARNED = N_("answer not learned")
    NO_END = N_("end of turn not learned")
    USER_LEARNED = N_("user text learned")
    BOS = N_("BOS missing or twice")
    ASKED = N_("asked otherwise than trained")
    CONTROL = N_("control token inside the text")
    UNKNOWN = N_("unknown characters")
    # of the whole
    SHARE = N_("share of tokens learned")
    POSITIONS = N_("longer than the model reads")
    COPIED = N_("held out and trained on")
    FEW_HELD_OUT = N_("held-out conversations")
    FEW_STEPS = N_("training steps")


AGAIN = N_("make the labels with labels.encode_rows")
SHORTER = N_("raise max_length, or leave out the longest rows")
# the largest share of rows that may fail, and what to do when more do
LIMITS: dict[Check, tuple[float, str]] = {
    Check.ROWS_LOST: (0.2, N_("look at the reasons for which rows were dropped, and mend the data or its format")),
    Check.TEMPLATE: (0.01, N_("write the two parts again with data.prepare, which says why for every such row")),
    Check.NOTHING: (0.01, N_("raise max_length, or shorten the prompts")),
    Check.CUT_OFF: (0.05, SHORTER),
    Check.LONGER: (0.10, SHORTER),
    Check.POSITIONS: (0.0, N_("lower max_length: the model was not made for texts as long")),
    Check.PLACE: (0.0, N_("each label must be -100 or the token of its own place: the model itself shifts them")),
    Check.NOT_LEARNED: (0.0, AGAIN),
    Check.NO_END: (0.0, N_("replies would never stop: use a chat template that writes EOS after an answer")),
    Check.USER_LEARNED: (0.0, AGAIN),
    Check.BOS: (0.0, N_("tokenise the rendered text with add_special_tokens=False")),
    Check.ASKED: (0.0, N_("let the template's generation prompt end exactly where an answer begins")),
    Check.CONTROL: (0.001, N_("remove texts such as </s> or <bot> from the data")),
    Check.UNKNOWN: (0.01, N_("the tokenizer cannot write some characters: choose another model")),
    Check.COPIED: (0.0, N_("write the two parts again with data.prepare")),
}


def verdict(check: Check, state: Verdict, measured: str, limit: str, fix: str) -> dict:
    """One verdict for data_report.json; `ok` is False for red alone."""
    return {
        "check": str(check),
        "ok": state is not Verdict.RED,
        "verdict": str(state),
        "measured": measured,
        "limit": limit,
        "fix": fix,
    }


def rows_verdict(check: Check, failed: int, of: int, fix: str = "") -> dict:
    """Red when more than the share of LIMITS has failed."""
    limit, advice = LIMITS[check]
    measured = _("{failed:,} of {of:,} rows").format(failed=failed, of=of)
    shown = f"{limit:.1%}".replace(".0%", "%") if limit else _("no row")
    state = Verdict.RED if failed > limit * of else Verdict.GREEN
    return verdict(check, state, measured, shown, fix or _(advice))


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
        unknown = tokenizer.unk_token_id
        if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):
            unknown = None  # it has another use
        control = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))
        begins = render(tokenizer, [{"role": "user", "content": "?"}]).startswith(tokenizer.bos_token or "\0")
        stops = frozenset(stop_ids(tokenizer))
        return cls(stops.union(special), stops, tokenizer.bos_token_id, begins, unknown, control)


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
        return [turn for turn in self.messages if turn["role"] == "assistant" and turn.get("train", True)]

    @cached_property
    def runs(self) -> list[list[int]]:
        """The learned tokens, neighbours together."""
        return [list(run) for learned, run in groupby(self.labels, lambda label: label != CONTEXT) if learned]

    @cached_property
    def cut_off(self) -> bool:
        return any(label != CONTEXT for label in self.full["labels"][self.config.max_length :])

    @cached_property
    def has_control(self) -> bool:
        texts = [message["content"] for message in self.messages]
        return any(ROLE_TOKEN.search(text) or self.special.control.search(text) for text in texts)

    @cached_property
    def comparable(self) -> bool:
        """Can what is learned be read back and compared? Not where it is cut off, or holds what decodes to
        something else."""
        return not (self.cut_off or self.has_control or has_unknown(self))

    @cached_property
    def between(self) -> str | None:
        """What is learned besides the answers; None when one of them is missing."""
        text = self.tokenizer.decode([token for run in self.runs for token in run])
        return without_answers(plain(self.special.control.sub(" ", text)), self.answers)


def has_unknown(row: Row) -> bool:
    return row.special.unknown is not None and row.special.unknown in row.ids


def is_longer(row: Row) -> bool:
    return len(row.full["input_ids"]) > row.config.max_length


def has_label_of_another_place(row: Row) -> bool:
    return any(label not in (CONTEXT, token) for token, label in zip(row.ids, row.labels, strict=True))


def answer_is_missing(row: Row) -> bool:
    return row.comparable and row.between is None


def user_text_is_learned(row: Row) -> bool:
    if not row.config.answer_only_loss or not row.comparable or row.between is None:
        return False
    others = [plain(message["content"]) for message in row.messages if message not in row.answers]
    return any(text and text in row.between for text in others)


def end_is_missing(row: Row) -> bool:
    """Must end with a control token: every learned piece, white space aside; with one that stops a reply: the last
    answer."""
    if row.cut_off:
        return False
    ends, stops = row.special.ends, row.special.stops
    if not row.config.answer_only_loss:
        return sum(token in ends for run in row.runs for token in run) < len(row.answers)
    last = [next((i for i in reversed(run) if row.tokenizer.decode([i]).strip()), None) for run in row.runs]
    last_is_learned = bool(row.answers) and row.answers[-1] is row.messages[-1]
    return any(token not in ends for token in last) or (last_is_learned and last[-1] not in stops)


def bos_is_wrong(row: Row) -> bool:
    bos = row.special.bos
    if bos is None:
        return False
    return row.ids[:2] == [bos, bos] or (row.special.begins_with_bos and row.ids[0] != bos)


ROW_CHECKS: dict[Check, Callable[[Row], bool]] = {
    Check.CUT_OFF: lambda row: row.cut_off,
    Check.LONGER: is_longer,
    Check.PLACE: has_label_of_another_place,
    Check.UNKNOWN: has_unknown,
    Check.NOT_LEARNED: answer_is_missing,
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
        position = _behind_calls(learned, at + len(text), answer, answers[number + 1 : number + 2])
    return re.sub("</?think>", "\n", "\n".join([*rest, learned[position:]]))


def _behind_calls(learned: str, position: int, answer: dict, following: list[dict]) -> int:
    """The place behind the tool calls of an answer: their arguments often repeat what the user said."""
    calls = answer.get("tool_calls")
    if not calls:
        return position
    last = max(learned.rfind(plain(call["function"]["name"]), position) for call in calls)
    places = [learned.find(plain(later["content"]), last) for later in following]
    return next((place for place in places if place >= 0), len(learned))


def plain(text: str) -> str:
    """`text` without what decoding may change: spaces, and characters that look the same."""
    return "".join(unicodedata.normalize("NFKC", text).split())
