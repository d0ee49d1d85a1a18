"""Labels: which tokens the loss sees. A label is the token's own id where the model is to learn it, else -100."""

import contextlib
from collections.abc import Iterator
from itertools import islice

from helpers.fields import Stage
from helpers.settings import PAD_TO, RunConfig, names_of
from helpers.show.words import _
from helpers.template.chat import render
from helpers.template.spans import answer_spans, is_document, thoughts

CONTEXT = -100  # the loss skips this label: text that the model reads and does not learn
ONE_ROW = "one_row"  # of a held-out text: only its beginning is judged
BATCH = 1000  # conversations tokenised at once


def encode(
    tokenizer, messages: list[dict], max_length: int, answer_only: bool = True, tools=(), learn_thinking: str = "auto"
) -> dict[str, list[int]]:
    """One conversation as {"input_ids", "labels"}, cut to `max_length` tokens.

    With `answer_only` every assistant turn is learned, its end-of-turn token included; the rest is -100. What is
    learned of thoughts, see `spans.answer_spans`.
    Raises ValueError when the chat template refuses or changes the texts, so that the answers cannot be found.
    """
    row = {"messages": messages, "tools": tools}
    found = _encode_batch(tokenizer, [row], answer_only, learn_thinking)[0]
    if found is None:
        _text_and_spans(tokenizer, row, answer_only, learn_thinking)  # raises, and says why
    return {name: values[:max_length] for name, values in (found or {}).items()}


def encode_rows(rows: list[dict], tokenizer, config: RunConfig):
    """Conversations {"messages": ...} as a `datasets.Dataset` with columns input_ids and labels, for SFTTrainer.

    Rows in which nothing is left to learn (the prompt alone fills config.max_length) are left out. A raw text becomes
    as many rows as it needs.
    """
    from datasets import Dataset, Features, List, Value, concatenate_datasets

    columns = Features({name: List(Value("int32")) for name in ("input_ids", "labels")})
    whole = zip(rows, encoded(rows, tokenizer, config.answer_only_loss, config.learn_thinking), strict=True)
    found = (part for row, full in whole if full for part in in_rows(row, full, config.max_length))
    kept, parts = (row for row in found if row), []
    while (part := list(islice(kept, BATCH))) or not parts:  # Arrow holds a part in a tenth of the memory of lists
        parts.append(Dataset.from_dict({name: [row[name] for row in part] for name in columns}, features=columns))
    return concatenate_datasets(parts)


def encoded(
    rows: list[dict], tokenizer, answer_only: bool = True, learn_thinking: str = "auto"
) -> Iterator[dict | None]:
    """Each of `rows` as {"input_ids", "labels"} in full length; None where the template refuses or changes it."""
    from helpers.show.progress import Progress

    with Progress(total=len(rows), desc=_("tokenising"), unit=_(" rows")) as progress:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            yield from _encode_batch(tokenizer, batch, answer_only, learn_thinking)
            progress.update(len(batch))


def cut(row: dict, max_length: int) -> dict | None:
    """An encoded row cut to `max_length` tokens; None when nothing to learn is left in it."""
    row = {name: values[:max_length] for name, values in row.items()}
    return row if any(label != CONTEXT for label in row["labels"]) else None


def in_rows(row: dict, full: dict, max_length: int) -> list[dict | None]:
    """An encoded conversation cut to one row; a raw text cut into as many as it has `max_length` tokens."""
    if not is_document(row["messages"]) or row.get(ONE_ROW):
        return [cut(full, max_length)]
    starts = range(0, max(len(full["input_ids"]) - 1, 1), max_length)  # one token alone has nothing before it
    return [{name: values[i : i + max_length] for name, values in full.items()} for i in starts]


def collator(tokenizer):
    """The collator of SFTTrainer in 04: it pads encoded rows to a batch of input_ids, labels and attention_mask."""
    with contextlib.redirect_stdout(None):  # transformers prints a line about W&B when it is first imported
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id, pad_to_multiple_of=PAD_TO)


def judged_settings(config: RunConfig) -> dict:
    """The settings for which the verdicts of data_report.json hold."""
    return {name: getattr(config, name) for name in names_of(Stage.DATA, Stage.LABELS)}


def require_green(report: dict, config: RunConfig) -> None:
    """Raises ValueError that names the red verdicts of data_report.json, unless config.allow_label_issues.

    Raises ValueError as well when the verdicts were made for other settings than `config` has, or for none.
    """
    judged, now = report.get("judged_for", {}), judged_settings(config)
    # a report of an older version names fewer settings
    other = {name: judged[name] for name in now if name in judged and judged[name] != now[name]}
    if other or not judged:
        other = other or dict.fromkeys(now)
        changes = ", ".join(f"{name} {was!r} -> {now[name]!r}" for name, was in other.items())
        sentence = _(
            "The labels were judged for other settings ({changes}): run 03_data_preview.ipynb with these first."
        )
        raise ValueError(sentence.format(changes=changes))
    red = [verdict for verdict in report["verdicts"] if not verdict["ok"]]
    if red and not config.allow_label_issues:
        faults = "; ".join(f"{_(verdict['check'])}: {verdict['measured']} ({verdict['fix']})" for verdict in red)
        sentence = _("The labels are not fit to train on. {faults}. Set allow_label_issues=True to train all the same.")
        raise ValueError(sentence.format(faults=faults))


def _encode_batch(tokenizer, rows: list[dict], answer_only: bool, learn_thinking: str) -> list[dict | None]:
    """`encoded` for a batch: one call of the tokenizer, which works on all cores."""
    known: dict[int, tuple] = {}
    found: list[dict | None] = [None] * len(rows)
    for number, row in enumerate(rows):
        with contextlib.suppress(ValueError):
            known[number] = _text_and_spans(tokenizer, row, answer_only, learn_thinking)
    if known:
        # the template has written BOS already: the tokenizer must not add another
        texts = [text for text, _spans in known.values()]
        tokens = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        for number, ids, offsets in zip(known, tokens.input_ids, tokens.offset_mapping, strict=True):
            found[number] = {"input_ids": ids, "labels": _labels(ids, offsets, known[number][1])}
    return found


def _text_and_spans(tokenizer, row: dict, answer_only: bool, learn_thinking: str) -> tuple[str, list[tuple[int, int]]]:
    """Rendered text and the characters to learn. Raises ValueError when the template refuses or changes it.

    Where some turns are marked as not to be learned, only answers are, whatever `answer_only` says.
    """
    tools = row.get("tools") or ()
    if answer_only or any("train" in message for message in row["messages"]):
        return answer_spans(tokenizer, row["messages"], tools, learn_thinking)
    text = render(tokenizer, row["messages"], tools=tools)
    return text, [(0, len(text))]


def thought_tokens(tokenizer, messages: list[dict], tools=(), learn_thinking: str = "auto") -> set[int]:
    """The places of the tokens that are a thought, in the encoding of the conversation; empty when it shows none."""
    if not any("reasoning_content" in message or "</think>" in message["content"] for message in messages):
        return set()
    text = answer_spans(tokenizer, messages, tools, learn_thinking)[0]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    spans = thoughts(tokenizer, messages, tools, learn_thinking)
    return set(_labels([*range(len(offsets))], offsets, spans)) - {CONTEXT}


def _labels(ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """The id of each token that shares a character with one of `spans`, else -100. Both lists are in text order."""
    labels, remaining = [], iter(spans)
    start, end = next(remaining, (0, 0))
    for token, (first, last) in zip(ids, offsets, strict=True):
        while first >= end and end:
            start, end = next(remaining, (0, 0))
        labels.append(token if first < end and last > start else CONTEXT)
    return labels
