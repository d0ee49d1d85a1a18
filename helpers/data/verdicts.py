"""Are rows and labels right? Every check counts its failures in what the trainer's own collator gives to the model.

04 refuses to train while a verdict is red (`require_green`). Amber and "too few" are to be looked at, and stop nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from helpers.data.checks import ROW_CHECKS, Row, Special, is_comparable
from helpers.data.copies import overlap
from helpers.data.costs import numbers, summary
from helpers.data.labels import CONTEXT, collator, cut, encoded, judged_settings
from helpers.data.limits import LIMITS, Check, rows_verdict, verdict
from helpers.data.prepare import prepare
from helpers.files import read_jsonl, write_json
from helpers.model.source import ModelSource, longest_text
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.verdict import Verdict
from helpers.show.words import N_, _
from helpers.template.chat import fold_system, render
from helpers.template.spans import answer_spans, is_document, training_template
from helpers.template.thoughts import opens_a_thought

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASKED = 500  # rows for the one check that renders a prompt again
BATCH = 64  # rows collated at once
FEW_HELD_OUT = 10  # conversations; from fewer, a held-out loss is an accident
FEW_STEPS = 10
MOST_LEARNED = 0.98  # of the tokens learned: with more, the questions are learned too


def inspect(
    train: list[dict], held_out: list[dict], tokenizer: PreTrainedTokenizerBase, config: RunConfig
) -> dict[str, Any]:
    """Verdicts and numbers on the rows of train.jsonl and eval.jsonl, for data_report.json.

    "verdicts": check, ok, verdict, measured, limit, fix. "numbers": name -> number. "lengths": tokens per training "
    "row, uncut.
    """
    rows, limit = train + held_out, config.max_length
    report = judge(rows, encoded(rows, tokenizer, config.answer_only_loss, config.learn_thinking), tokenizer, config)
    lengths: list[int] = []
    for row, length in zip(train, report["lengths"], strict=False):
        full, rest = divmod(length, limit)  # a raw text becomes as many rows as it needs
        lengths += [limit] * full + [rest] * (rest > 1) if is_document(row["messages"]) else [length]
    if most := longest_text(ModelSource.of(config).settings()):  # None where the model's config.json sets no limit
        too_long = sum(min(length, limit) > most for length in report["lengths"])
        report["verdicts"].append(rows_verdict(Check.POSITIONS, too_long, len(rows)))
    copied, asked_again = overlap([row["messages"] for row in train], [row["messages"] for row in held_out])
    report["verdicts"].append(rows_verdict(Check.COPIED, copied, len(held_out)))
    report["verdicts"].append(held_out_verdict(len(held_out), config))
    report["verdicts"].append(steps_verdict(lengths, config))
    report["numbers"][N_("held-out first questions that training asks too")] = asked_again
    return {**report, "lengths": lengths}


def judge(
    rows: list[dict], encoded_rows: Iterable[dict | None], tokenizer: PreTrainedTokenizerBase, config: RunConfig
) -> dict[str, Any]:
    """Every check on single rows, from conversations and their encoding in full length (None: not to be encoded)."""
    special, collate = Special.of(tokenizer), collator(tokenizer)
    failed, lengths, used, learned = Counter(), [], Counter(), 0
    pairs = iter(zip(rows, encoded_rows, strict=True))
    while batch := list(islice(pairs, BATCH)):
        whole = [(fold_system(tokenizer, row["messages"]), full) for row, full in batch if full]
        placed = [(messages, full) for messages, full in whole if is_comparable(full)]
        kept = [(messages, full, short) for messages, full in placed if (short := cut(full, config.max_length))]
        lengths += [len(full["input_ids"]) if full else 0 for _row, full in batch]
        failed[Check.TEMPLATE] += len(batch) - len(whole)
        failed[Check.PLACE] += len(whole) - len(placed)
        failed[Check.NOTHING] += len(placed) - len(kept)
        for (messages, full, _short), (ids, labels) in zip(kept, _collated(kept, collate), strict=True):
            row = Row(messages, full, ids, labels, tokenizer, special, config)
            failed.update(check for check, fails in ROW_CHECKS.items() if fails(row))
            learned += sum(label != CONTEXT for label in labels)
            used.update(ids)
    found = [rows_verdict(check, failed[check], len(rows)) for check in (Check.TEMPLATE, Check.NOTHING, *ROW_CHECKS)]
    all_may_be = not config.answer_only_loss or any(is_document(row["messages"]) for row in rows)
    share = learned_verdict(learned, used.total(), 1.0 if all_may_be else MOST_LEARNED)
    # is a reply asked for with the very tokens that training has before an answer?
    advice = [fix for row in rows[:ASKED] if (fix := asked_otherwise(row, tokenizer, config.learn_thinking))]
    asked = rows_verdict(Check.ASKED, len(advice), len(rows[:ASKED]), fix=advice[0] if advice else "")
    return {
        "verdicts": [share, *found, asked],
        "numbers": numbers(rows, used, learned, lengths, tokenizer),
        "lengths": lengths,
    }


def _collated(kept: list[tuple], collate) -> Iterable[tuple[list[int], list[int]]]:
    """(ids, labels) of every row, out of the collator's padded batch."""
    batch = collate([short for _messages, _full, short in kept]) if kept else {}
    masks = batch["attention_mask"].bool() if kept else ()
    for ids, labels, mask in zip(batch.get("input_ids", ()), batch.get("labels", ()), masks, strict=True):
        yield ids[mask].tolist(), labels[mask].tolist()


def learned_verdict(learned: int, tokens: int, most: float) -> dict:
    """A small share is no fault: long documents have short answers. Rows without any are counted elsewhere."""
    share = learned / max(tokens, 1)
    fix = _("nothing is learned, or the prompt is learned too: make the labels with labels.encode_rows")
    measured = _("{share:.2%} of {tokens:,} tokens").format(share=share, tokens=tokens)
    state = Verdict.GREEN if 0 < share <= most else Verdict.RED
    return verdict(Check.SHARE, state, measured, _("above 0, up to {most:.0%}").format(most=most), fix)


def held_out_verdict(rows: int, config: RunConfig) -> dict:
    """Too few when an accident could choose the checkpoint; nothing is asked where nothing was to be held out."""
    fix = _("use more rows, raise eval_fraction, or take data that repeats itself less")
    state = Verdict.TOO_FEW if config.eval_fraction > 0 and rows < FEW_HELD_OUT else Verdict.GREEN
    measured = _("{rows:,} conversations").format(rows=rows)
    return verdict(Check.FEW_HELD_OUT, state, measured, _("{few} or more").format(few=FEW_HELD_OUT), fix)


def steps_verdict(lengths: list[int], config: RunConfig) -> dict:
    """Amber when training has so few optimizer steps that it can hardly change anything."""
    rows = len(lengths)
    if config.packing:
        rows = math.ceil(sum(min(length, config.max_length) for length in lengths) / config.max_length)
    per_step = config.per_device_train_batch_size * config.gradient_accumulation_steps
    steps = config.max_steps if config.max_steps > 0 else math.ceil(rows / per_step * config.num_train_epochs)
    fix = _("use more rows, more passes (num_train_epochs), or fewer rows a step (gradient_accumulation_steps)")
    state = Verdict.AMBER if steps < FEW_STEPS else Verdict.GREEN
    measured = _("about {steps:,} steps").format(steps=steps)
    return verdict(Check.FEW_STEPS, state, measured, _("{few} or more").format(few=FEW_STEPS), fix)


def asked_otherwise(row: dict, tokenizer: PreTrainedTokenizerBase, learn_thinking: str = "auto") -> str:
    """What to do when the prompt for the last answer is another text, or has other tokens, than training; "" when not.

    A training template may show earlier turns otherwise than the tokenizer's own; what stands before the answer counts.
    """
    tools, messages = row.get("tools") or (), row["messages"]
    if is_document(messages):
        return ""  # nobody asks
    try:
        text, _spans = answer_spans(tokenizer, messages, tools, learn_thinking)
    except ValueError:
        return ""  # counted elsewhere
    asked = render(tokenizer, messages[:-1], add_generation_prompt=True, tools=tools)
    if not text.startswith(asked):
        header = asked.rpartition(fold_system(tokenizer, messages[:-1])[-1]["content"].strip())[2]
        own = training_template(tokenizer) in (None, tokenizer.get_chat_template())
        if header not in text or own:
            sentence = _(
                "the generation prompt opens a thought ({opens}) that these answers do not have: set "
                'chat_template="no-thought" to ask without it, or give each answer a thought (reasoning_content)'
            )
            opens = opens_a_thought(tokenizer, asked)
            return sentence.format(opens=opens) if opens else _(LIMITS[Check.ASKED][1])
        asked = text.rpartition(header)[0] + header
    ids, whole = (tokenizer(part, add_special_tokens=False).input_ids for part in (asked, text))
    return "" if whole[: len(ids)] == ids else _(LIMITS[Check.ASKED][1])


def verdicts_of(report: Mapping[str, Any], labels: dict) -> list[dict]:
    """All verdicts of 03: on the rows as they were read (`prepare`), and on the labels (`inspect`)."""
    early = [report[name] for name in ("lost", "marks", "left") if name in report]
    return [*early, *labels["verdicts"]]


def verdict_rows(verdicts: list[dict]) -> list[dict]:
    """Verdicts as a table: the check in the reader's language, a mark or a word, and what to do unless it is green."""
    rows = []
    for found in verdicts:
        state = Verdict(found.get("verdict", Verdict.GREEN if found["ok"] else Verdict.RED))
        row = {"check": _(found["check"]), "ok": {Verdict.GREEN: True, Verdict.RED: False}.get(state, state.word)}
        row |= {"measured": found["measured"], "limit": found["limit"]}
        rows.append({**row, "fix": "" if state is Verdict.GREEN else found["fix"]})
    return rows


def prepare_again(run: RunDir) -> dict[str, object]:
    """03 without its page: data/ and data_report.json of `run`, by its settings and its list of rows to leave out."""
    config = run.stored_config()
    tokenizer = load_tokenizer(config)
    report = prepare(config, run, tokenizer)
    labels = inspect(read_jsonl(run.train_jsonl), read_jsonl(run.eval_jsonl), tokenizer, config)
    judged = {"verdicts": verdicts_of(report, labels), "judged_for": judged_settings(config)}
    whole = {**report, **judged, "numbers": labels["numbers"], "lengths": summary(labels["lengths"])}
    write_json(run.data_report, whole)
    return whole
