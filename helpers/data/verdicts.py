"""Are the labels right? Every check counts the rows that fail it, in what the trainer's own collator hands to the model.

The checks read token ids and labels back and compare them with the conversations; they do not use the code that made
the labels. 04 refuses to train while one of them is red (`labels.require_green`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import groupby, islice
from typing import NamedTuple

from helpers.data.copies import overlap
from helpers.data.costs import numbers
from helpers.data.formats import ROLE_TOKEN
from helpers.data.labels import CONTEXT, collator, cut, encoded
from helpers.model.source import ModelSource, longest_text
from helpers.settings import RunConfig
from helpers.template.capabilities import apart
from helpers.template.chat import fold_system, render, stop_ids
from helpers.template.spans import answer_spans, training_template
from helpers.template.thoughts import opens_a_thought

ASKED = 500  # rows for the one check that renders a prompt again
BATCH = 64  # rows collated at once

# check -> the largest share of rows that may fail it, and what to do when more do
CHECKS = {
    "template changes the text": (
        0.01,
        "write the two parts again with data.prepare, which says why for every such row",
    ),
    "nothing to learn": (0.01, "raise max_length, or shorten the prompts"),
    "answer cut off by max_length": (0.05, "raise max_length, or leave out the longest rows"),
    "longer than max_length": (0.10, "raise max_length, or leave out the longest rows"),
    "longer than the model reads": (
        0.0,
        "lower max_length: the model was not made for texts as long",
    ),
    "answer not learned": (0.0, "make the labels with labels.encode_rows"),
    "end of turn not learned": (0.0, "replies would never stop: use a chat template that writes EOS after an answer"),
    "user text learned": (0.0, "make the labels with labels.encode_rows"),
    "BOS missing or twice": (0.0, "tokenise the rendered text with add_special_tokens=False"),
    "asked otherwise than trained": (0.0, "let the template's generation prompt end exactly where an answer begins"),
    "control token inside the text": (0.001, "remove texts such as </s> or <bot> from the data"),
    "unknown characters": (0.01, "the tokenizer cannot write some characters: choose another model"),
    "held out and trained on": (0.0, "write the two parts again with data.prepare"),
}
OF_THE_WHOLE = ("longer than the model reads", "held out and trained on")  # judged by `inspect` alone
LEARNED_SHARE = "share of tokens learned"


def inspect(train: list[dict], held_out: list[dict], tokenizer, config: RunConfig) -> dict:
    """Verdicts and numbers on the rows of train.jsonl and eval.jsonl, for data_report.json.

    "verdicts": check, ok, measured, limit, fix. "numbers": name -> number. "lengths": tokens per training row, uncut.
    """
    rows = train + held_out
    report = judge(rows, encoded(rows, tokenizer, config.answer_only_loss, config.learn_thinking), tokenizer, config)
    if most := positions(config):
        too_long = sum(min(length, config.max_length) > most for length in report["lengths"])
        report["verdicts"].append(_verdict("longer than the model reads", too_long, len(rows)))
    copied, asked_again = overlap([row["messages"] for row in train], [row["messages"] for row in held_out])
    report["verdicts"].append(_verdict("held out and trained on", copied, len(held_out)))
    report["numbers"]["held-out first questions that training asks too"] = asked_again
    return {**report, "lengths": report["lengths"][: len(train)]}


def positions(config: RunConfig) -> int | None:
    """The longest text in tokens that the base model was made for; None where its config.json sets no limit."""
    from transformers import AutoConfig

    settings = AutoConfig.from_pretrained(**ModelSource.of(config).keywords)
    return longest_text(settings)


def judge(rows: list[dict], encoded_rows: Iterable[dict | None], tokenizer, config: RunConfig) -> dict:
    """Every check on single rows, from conversations and their encoding in full length (None: not to be encoded)."""
    special, collate = Special.of(tokenizer), collator(tokenizer)
    failed, lengths, used, learned = Counter(), [], Counter(), 0
    pairs = iter(zip(rows, encoded_rows, strict=True))
    while batch := list(islice(pairs, BATCH)):
        whole = [(fold_system(tokenizer, row["messages"]), full) for row, full in batch if full]
        kept = [(messages, full, short) for messages, full in whole if (short := cut(full, config.max_length))]
        lengths += [len(full["input_ids"]) if full else 0 for _, full in batch]
        failed["template changes the text"] += len(batch) - len(whole)
        failed["nothing to learn"] += len(whole) - len(kept)
        for (messages, full, _), (ids, labels) in zip(kept, _collated(kept, collate), strict=True):
            failed.update(_failures(messages, full, ids, labels, tokenizer, special, config))
            learned += sum(label != CONTEXT for label in labels)
            used.update(ids)
    otherwise = [told for row in rows[:ASKED] if (told := asked_otherwise(row, tokenizer, config.learn_thinking))]
    failed["asked otherwise than trained"] = len(otherwise)
    of = dict.fromkeys([name for name in CHECKS if name not in OF_THE_WHOLE], len(rows))
    of["asked otherwise than trained"] = min(len(rows), ASKED)
    verdicts = [_learned_share(learned, used.total(), config), *(_verdict(name, failed[name], of[name]) for name in of)]
    if otherwise:
        next(v for v in verdicts if v["check"] == "asked otherwise than trained")["fix"] = otherwise[0]
    return {"verdicts": verdicts, "numbers": numbers(rows, used, learned, lengths, tokenizer), "lengths": lengths}


class Special(NamedTuple):
    """The tokens of a tokenizer that the checks look for."""

    ends: frozenset[int]  # may end a turn
    stops: frozenset[int]  # end a reply
    bos: int | None
    begins_with_bos: bool  # as the template wants it
    unknown: int | None
    control: re.Pattern  # the texts of the control tokens

    @classmethod
    def of(cls, tokenizer) -> Special:
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


def _collated(kept: list[tuple], collate) -> Iterable[tuple[list[int], list[int]]]:
    """(ids, labels) of every row, out of the collator's padded batch."""
    if not kept:
        return
    batch = collate([short for _, _, short in kept])
    for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"].bool(), strict=True):
        yield ids[mask].tolist(), labels[mask].tolist()


def _failures(messages, full, ids, labels, tokenizer, special: Special, config: RunConfig) -> Iterable[str]:
    """The checks that one collated row fails; `full` is its encoding before the cut."""
    runs = _runs(labels)
    answers = [message for message in messages if message["role"] == "assistant" and message.get("train", True)]
    others = [message["content"] for message in messages if message not in answers]
    cut_off = any(label != CONTEXT for label in full["labels"][config.max_length :])
    if cut_off:
        yield "answer cut off by max_length"
    if len(full["input_ids"]) > config.max_length:
        yield "longer than max_length"
    if special.unknown is not None and special.unknown in ids:
        yield "unknown characters"
    elif not cut_off:
        said = _plain(special.control.sub(" ", tokenizer.decode([token for run in runs for token in run])))
        between = _without(said, answers)
        if between is None:
            yield "answer not learned"
        elif config.answer_only_loss and any(_plain(text) and _plain(text) in between for text in others):
            yield "user text learned"
    last_is_learned = bool(answers) and answers[-1] is messages[-1]
    if not cut_off and not _all_end(runs, answers, last_is_learned, tokenizer, special, config):
        yield "end of turn not learned"
    if special.bos is not None and (
        ids[:2] == [special.bos, special.bos] or (special.begins_with_bos and ids[0] != special.bos)
    ):
        yield "BOS missing or twice"
    if any(ROLE_TOKEN.search(text) or special.control.search(text) for text in (m["content"] for m in messages)):
        yield "control token inside the text"


def _runs(labels: list[int]) -> list[list[int]]:
    """The learned tokens, neighbours together."""
    return [list(run) for learned, run in groupby(labels, lambda label: label != CONTEXT) if learned]


def _all_end(runs, answers, last_is_learned: bool, tokenizer, special: Special, config: RunConfig) -> bool:
    """True when every learned piece ends with a control token, white space behind it aside, and the last answer with one
    that stops a reply in 05 to 07."""
    if not config.answer_only_loss:
        return sum(token in special.ends for run in runs for token in run) >= len(answers)
    last = [next((token for token in reversed(run) if tokenizer.decode([token]).strip()), None) for run in runs]
    return all(token in special.ends for token in last) and not (last_is_learned and last[-1] not in special.stops)


def _without(said: str, answers: list[dict]) -> str | None:
    """What is learned besides the answers, their thoughts and tool calls; None when an answer is missing."""
    rest, position = [], 0
    for number, answer in enumerate(map(apart, answers)):
        thought, text = _plain(answer.get("reasoning_content", "")), _plain(answer["content"])
        found = said.find(thought, position) if thought else -1
        if found >= 0:
            rest.append(said[position:found])
            position = found + len(thought)
        found = said.find(text, position)
        if found < 0:
            if thought and number + 1 < len(answers):
                continue  # an earlier thought is hidden at use, and its answer is only read
            return None
        rest.append(said[position:found])
        position = found + len(text)
        if calls := answer.get("tool_calls"):  # their arguments often repeat what the user said
            names = [said.rfind(_plain(call["function"]["name"]), position) for call in calls]
            following = [said.find(_plain(later["content"]), max(names)) for later in answers[number + 1 : number + 2]]
            position = next((place for place in following if place >= 0), len(said))
    return re.sub("</?think>", "\n", "\n".join([*rest, said[position:]]))


def asked_otherwise(row: dict, tokenizer, learn_thinking: str = "auto") -> str:
    """What to do when the prompt for the last answer is another text, or has other tokens, than training; "" when not.

    A training template may show earlier turns otherwise than the tokenizer's own; what stands before the answer counts.
    """
    tools, messages = row.get("tools") or (), row["messages"]
    try:
        text, spans = answer_spans(tokenizer, messages, tools, learn_thinking)
    except ValueError:
        return ""  # counted elsewhere
    asked = render(tokenizer, messages[:-1], add_generation_prompt=True, tools=tools)
    if not text.startswith(asked):
        header = asked.rpartition(fold_system(tokenizer, messages[:-1])[-1]["content"].strip())[2]
        question = text.rpartition(header)[0] if header in text else None
        if question is None or training_template(tokenizer) in (None, tokenizer.get_chat_template()):
            if opens := opens_a_thought(tokenizer, asked):
                return (
                    f"the generation prompt opens a thought ({opens}) that these answers do not have: set "
                    'chat_template="no-thought" to ask without it, or give each answer a thought (reasoning_content)'
                )
            return CHECKS["asked otherwise than trained"][1]
        asked = question + header
    ids, whole = (tokenizer(part, add_special_tokens=False).input_ids for part in (asked, text))
    return "" if whole[: len(ids)] == ids else CHECKS["asked otherwise than trained"][1]


def _plain(text: str) -> str:
    """`text` without what decoding may change: spaces, and characters that look the same."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def _verdict(check: str, failed: int, of: int) -> dict:
    limit, fix = CHECKS[check]
    measured = f"{failed:,} of {of:,} rows"
    return {
        "check": check,
        "ok": failed <= limit * of,
        "measured": measured,
        "limit": f"{limit:.1%}".replace(".0%", "%") if limit else "no row",
        "fix": fix,
    }


def _learned_share(learned: int, tokens: int, config: RunConfig) -> dict:
    """A small share is no fault: long documents have short answers. Rows without any are counted elsewhere."""
    share, most = learned / max(tokens, 1), 0.98 if config.answer_only_loss else 1.0
    return {
        "check": LEARNED_SHARE,
        "ok": 0 < share <= most,
        "measured": f"{share:.2%} of {tokens:,} tokens",
        "limit": f"above 0, up to {most:.0%}",
        "fix": "nothing is learned, or the prompt is learned too: make the labels with labels.encode_rows",
    }
