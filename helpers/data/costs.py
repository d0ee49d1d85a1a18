"""What the text costs in tokens: per character, per row, and under another max_length."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from helpers.show.words import N_, _

if TYPE_CHECKING:
    from helpers.show.pictures import Picture

SAMPLED = 500  # conversations whose characters are counted


def numbers(rows: list[dict], used: Counter, learned: int, lengths: list[int], tokenizer) -> dict[str, float]:
    """Numbers on the encoded rows: name -> number. `used` counts every token id, `lengths` are tokens per row."""
    import numpy as np

    texts = [message["content"] for row in rows[:SAMPLED] for message in row["messages"]]
    total, whole = max(used.total(), 1), np.array([length for length in lengths if length] or [0])
    parts = sum(count for token, count in used.items() if is_part_of_character(token, tokenizer))
    other_uses = (None, tokenizer.bos_token_id, tokenizer.eos_token_id)
    unknown = used[tokenizer.unk_token_id] if tokenizer.unk_token_id not in other_uses else 0
    return {
        N_("rows"): len(rows),
        N_("tokens"): used.total(),
        N_("tokens learned"): learned,
        N_("tokens per row (median)"): float(np.median(whole)),
        N_("tokens in the longest row"): int(whole.max()),
        N_("tokens per character"): tokens_per_character(texts, tokenizer),
        N_("tokens that are only a part of a character, %"): 100 * parts / total,
        N_("tokens that stand for an unknown character, %"): 100 * unknown / total,
    }


def numbers_table(numbers: dict[str, float]) -> list[dict]:
    """`numbers` as rows of a table, in the reader's language."""
    return [{"number": _(name), "value": value} for name, value in numbers.items()]


def tokens_per_character(texts: list[str], tokenizer) -> float:
    """Tokens per character (spaces included) of plain texts; 0 for no text."""
    tokens = sum(map(len, tokenizer(texts, add_special_tokens=False).input_ids)) if texts else 0
    return tokens / max(sum(map(len, texts)), 1)


def is_part_of_character(token: int, tokenizer) -> bool:
    """True for a token that is a piece of a character's UTF-8 bytes: alone it means nothing."""
    name = tokenizer.convert_ids_to_tokens(token) or ""
    return bool(re.fullmatch(r"<0x[0-9A-F]{2}>", name)) or "\ufffd" in tokenizer.decode([token])


def length_picture(lengths: list[int], max_length: int) -> Picture:
    """How many conversations have how many tokens, and where max_length cuts."""
    from helpers.show.pictures import Picture, chart

    figure, axis = chart(8, 2.6)
    axis.hist(lengths, bins=50)
    axis.axvline(max_length, color="#cf222e", linestyle="--", label=f"max_length = {max_length:,}")
    axis.set(xlabel=_("tokens per conversation"), ylabel=_("conversations"))
    axis.legend()
    sentence = _("{count} lengths, from {low} to {high} tokens; max_length is {limit:,}")
    return Picture(figure, sentence.format(count=len(lengths), low=min(lengths), high=max(lengths), limit=max_length))


def max_length_table(lengths: list[int], max_length: int) -> list[dict]:
    """What half, this, twice, and the longest max_length would cut, and cost: one row each.

    "tokens to train on" grows with time; "longest row" decides the memory of a step.
    """
    import numpy as np

    whole = np.array([length for length in lengths if length])
    now = np.minimum(whole, max_length).sum()
    candidates = sorted({max_length // 2, max_length, max_length * 2, int(whole.max())})
    return [
        {
            "max_length": (_("{number} (now)") if candidate == max_length else "{number}").format(
                number=f"{candidate:,}"
            ),
            "rows cut": int((whole > candidate).sum()),
            "share of rows cut": f"{(whole > candidate).mean():.1%}",
            "tokens to train on": int(np.minimum(whole, candidate).sum()),
            "time against now": f"x {np.minimum(whole, candidate).sum() / now:.2f}",
            "longest row": int(min(whole.max(), candidate)),
        }
        for candidate in candidates
    ]


def summary(lengths: list[int]) -> dict[str, int]:
    """Tokens per row at some percentiles, for data_report.json."""
    import numpy as np

    whole = np.array([length for length in lengths if length])
    marks = {"shortest": 0, "median": 50, "90%": 90, "99%": 99, "longest": 100}
    return {name: int(np.percentile(whole, mark, method="higher")) for name, mark in marks.items()}
