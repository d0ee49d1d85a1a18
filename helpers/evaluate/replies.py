"""Numbers about replies: nearness to a reference (chrF), do they stop, do they repeat themselves, how long are they.

chrF: Popović (2015), overlap of character n-grams, 0 to 100; it needs no word boundaries, which suits Korean.
"""

from __future__ import annotations

from helpers.evaluate.generation import Reply
from helpers.show.words import _


def reply_metrics(replies: list[Reply], references: list[str] | None = None) -> dict:
    """Means over `replies`: `stops` and `repetition` 0 to 1, `tokens` per reply, `chrf` 0 to 100 against references.

    Stops, repetition and chrF are those of the answers; `in_thought` counts the replies that have none, since they
    ended inside their thought. `tokens` counts thoughts too.
    """
    count = len(replies)
    if not count:
        raise ValueError(_("There is no reply to measure: give at least one prompt."))
    answers = [reply.token_ids if reply.answer_ids is None else reply.answer_ids for reply in replies]
    numbers = {
        "replies": count,
        "stops": sum(reply.stopped and not reply.in_thought for reply in replies) / count,
        "in_thought": sum(reply.in_thought for reply in replies),
        "tokens": sum(len(reply.token_ids) for reply in replies) / count,
        "repetition": sum(map(repetition, answers)) / count,
    }
    if references is not None:
        from sacrebleu.metrics.chrf import CHRF

        numbers["chrf"] = CHRF().corpus_score([reply.text for reply in replies], [references]).score
    return numbers


def chrf_by_reply(replies: list[Reply], references: list[str]) -> list[float]:
    """chrF of each reply against its reference, 0 to 100; for paired comparisons."""
    from sacrebleu.metrics.chrf import CHRF

    score = CHRF().sentence_score
    return [score(reply.text, [reference]).score for reply, reference in zip(replies, references, strict=True)]


def repetition(token_ids, n: int = 4) -> float:
    """Share of the reply's n-grams of tokens that it had said before: 0 never, near 1 a loop."""
    grams = [tuple(token_ids[i : i + n]) for i in range(len(token_ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
