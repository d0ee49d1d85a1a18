"""Labels: which tokens the loss sees. A label is the token's own id where the model is to learn it, else -100."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from itertools import islice

from helpers.config import PAD_TO, RunConfig
from helpers.model.chat import answer_spans, fold_system, render

CONTEXT = -100  # the loss skips this label: text that the model reads and does not learn
BATCH = 1000  # conversations tokenised at once


def encode(tokenizer, messages: list[dict], max_length: int, answer_only: bool = True) -> dict[str, list[int]]:
    """One conversation as {"input_ids", "labels"}, cut to `max_length` tokens.

    With `answer_only` every assistant turn is learned, its end-of-turn token included; the rest is -100.
    Raises ValueError when the chat template changes the texts, so that the answers cannot be found.
    """
    row = _encode_batch(tokenizer, [messages], answer_only)[0]
    if row is None:
        answer_spans(tokenizer, messages)  # raises, and says why
    return {name: values[:max_length] for name, values in row.items()}


def encode_rows(rows: list[dict], tokenizer, config: RunConfig):
    """Conversations {"messages": ...} as a `datasets.Dataset` with columns input_ids and labels, for SFTTrainer as it is.

    Rows in which nothing is left to learn (the prompt alone fills config.max_length) are left out.
    """
    from datasets import Dataset, Features, List, Value, concatenate_datasets

    columns = Features({name: List(Value("int32")) for name in ("input_ids", "labels")})
    found = (row and cut(row, config.max_length) for row in encoded(rows, tokenizer, config.answer_only_loss))
    kept, parts = (row for row in found if row), []
    while (part := list(islice(kept, BATCH))) or not parts:  # Arrow holds a part in a tenth of the memory of lists
        parts.append(Dataset.from_dict({name: [row[name] for row in part] for name in columns}, features=columns))
    return concatenate_datasets(parts)


def encoded(rows: list[dict], tokenizer, answer_only: bool = True) -> Iterator[dict | None]:
    """Each of `rows` as {"input_ids", "labels"} in full length; None where the chat template changes its text."""
    from tqdm import tqdm

    with tqdm(total=len(rows), desc="tokenising", unit=" rows", delay=5) as progress:
        for start in range(0, len(rows), BATCH):
            batch = [row["messages"] for row in rows[start : start + BATCH]]
            yield from _encode_batch(tokenizer, batch, answer_only)
            progress.update(len(batch))


def cut(row: dict, max_length: int) -> dict | None:
    """An encoded row cut to `max_length` tokens; None when nothing to learn is left in it."""
    row = {name: values[:max_length] for name, values in row.items()}
    return row if any(label != CONTEXT for label in row["labels"]) else None


def collator(tokenizer):
    """The collator that SFTTrainer uses in 04: it pads encoded rows to a batch of input_ids, labels and attention_mask."""
    with contextlib.redirect_stdout(None):  # transformers prints a line about W&B when it is first imported
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id, pad_to_multiple_of=PAD_TO)


def require_green(report: dict, config: RunConfig) -> None:
    """Raises ValueError that names the red verdicts of data_report.json, unless config.allow_label_issues."""
    red = [verdict for verdict in report["verdicts"] if not verdict["ok"]]
    if red and not config.allow_label_issues:
        told = "; ".join(f"{verdict['check']}: {verdict['measured']} ({verdict['fix']})" for verdict in red)
        raise ValueError(
            f"The labels are not fit to train on. {told}. Set allow_label_issues=True to train all the same."
        )


def _encode_batch(tokenizer, conversations: list[list[dict]], answer_only: bool) -> list[dict | None]:
    """`encoded` for a batch: one call of the tokenizer, which works on all cores."""
    if answer_only and has_generation_marks(tokenizer):
        return _encode_by_marks(tokenizer, conversations)
    found = [_spans(tokenizer, messages, answer_only) for messages in conversations]
    known = [item for item in found if item]
    if not known:
        return [None] * len(found)
    # the template has written BOS already: the tokenizer must not add another
    tokens = tokenizer([text for text, _ in known], add_special_tokens=False, return_offsets_mapping=True)
    rows = iter(
        {"input_ids": ids, "labels": _labels(ids, offsets, spans)}
        for ids, offsets, (_, spans) in zip(tokens.input_ids, tokens.offset_mapping, known, strict=True)
    )
    return [next(rows) if item else None for item in found]


def _spans(tokenizer, messages: list[dict], answer_only: bool) -> tuple[str, list[tuple[int, int]]] | None:
    """Rendered text and the characters to learn; None when the template changes the conversation's text."""
    if not answer_only:
        text = render(tokenizer, messages)
        return text, [(0, len(text))]
    try:
        return answer_spans(tokenizer, messages)
    except ValueError:
        return None


def _labels(ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """The id of each token that shares a character with one of `spans`, else -100. Both lists are in text order."""
    labels, remaining = [], iter(spans)
    start, end = next(remaining, (0, 0))
    for token, (first, last) in zip(ids, offsets, strict=True):
        while first >= end and end:
            start, end = next(remaining, (0, 0))
        labels.append(token if first < end and last > start else CONTEXT)
    return labels


def has_generation_marks(tokenizer) -> bool:
    """True when the template marks what the model writes with {% generation %} ... {% endgeneration %}."""
    return re.search(r"\{%-?\s*generation\s*-?%\}", tokenizer.get_chat_template()) is not None


def _encode_by_marks(tokenizer, conversations: list[list[dict]]) -> list[dict]:
    """`encoded` for a template that marks the answers itself: its author's choice is taken as it is."""
    tokens = tokenizer.apply_chat_template(
        [fold_system(tokenizer, messages) for messages in conversations],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return [
        {"input_ids": ids, "labels": [token if learn else CONTEXT for token, learn in zip(ids, mask, strict=True)]}
        for ids, mask in zip(tokens["input_ids"], tokens["assistant_masks"], strict=True)
    ]
