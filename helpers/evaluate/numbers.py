"""The numbers of evaluation.json: each model's own, and what may be said about the differences.

chrF: Popović (2015), overlap of character n-grams with the reference answer, 0 to 100; it needs no word boundaries,
which suits Korean.
"""

from __future__ import annotations

from statistics import fmean

from helpers.evaluate.counts import PAIRS
from helpers.evaluate.generation import Reply
from helpers.evaluate.held_out import Scores, nll_cells
from helpers.evaluate.intervals import CHRF, MARGINS, NLL, STATES, judged_difference, share, told_gap, told_level
from helpers.show.tables import Table
from helpers.show.words import N_, _

MOST_CUT = 0.2  # share of replies; with more of them cut inside their thoughts, nothing is said about the answers
CUT = N_("unclear: too many replies were cut inside their thoughts, raise max_new_tokens")


def model_numbers(scores: Scores, replies: list[Reply], references: list[str]) -> dict:
    """One model's numbers on the held-out part: NLL with interval, perplexity, and those of its replies."""
    counts = {"perplexity": scores.perplexity, "rows": len(scores.tokens), "answer_tokens": sum(scores.tokens)}
    return {**scores.numbers(), **counts, **reply_metrics(replies, references)}


def reply_metrics(replies: list[Reply], references: list[str]) -> dict:
    """Means over `replies`: `stops` and `repetition` 0 to 1, `tokens` per reply, `chrf` 0 to 100 against references.

    Stops, repetition and chrF are those of the answers; `in_thought` counts the replies that have none, since they
    ended inside their thought. `tokens` counts thoughts too.
    """
    from sacrebleu.metrics import chrf

    if not replies:
        raise ValueError(_("There is no reply to measure: give at least one prompt."))
    answers = [reply.token_ids if reply.answer_ids is None else reply.answer_ids for reply in replies]
    return {
        "replies": len(replies),
        "stops": fmean(reply.stopped and not reply.in_thought for reply in replies),
        "in_thought": sum(reply.in_thought for reply in replies),
        "tokens": fmean(len(reply.token_ids) for reply in replies),
        "repetition": fmean(map(repetition, answers)),
        "chrf": chrf.CHRF().corpus_score([reply.text for reply in replies], [references]).score,
    }


def chrf_by_reply(replies: list[Reply], references: list[str]) -> list[float]:
    """chrF of each reply against its reference, 0 to 100; for paired comparisons."""
    from sacrebleu.metrics import chrf

    score = chrf.CHRF().sentence_score
    return [score(reply.text, [reference]).score for reply, reference in zip(replies, references, strict=True)]


def repetition(token_ids, n: int = 4) -> float:
    """Share of the reply's n-grams of tokens that it had said before: 0 never, near 1 a loop."""
    grams = [tuple(token_ids[i : i + n]) for i in range(len(token_ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def really_better(
    scores: dict[str, Scores], replies: dict[str, list[Reply]], references: list[str], pairs=PAIRS
) -> list[dict]:
    """Adapter against base, merged against adapter, on the same rows: one verdict per pair and number (see `judge`)."""
    made, verdicts = [], len(pairs) * len(MARGINS)
    for against, model in pairs:
        row = {"model": model, "against": against}
        nll = judged_difference(scores[against].nll, scores[model].nll, scores[against].tokens, verdicts)
        before, after = (chrf_by_reply(replies[name], references) for name in (against, model))
        chrf = judged_difference(before, after, [1] * len(references), verdicts, CHRF)
        cut = (sum(reply.in_thought and not reply.stopped for reply in replies[name]) for name in (against, model))
        if max(cut) > MOST_CUT * len(references):
            chrf["verdict"] = CUT
        made += [{"number": NLL, **row, **nll}, {"number": CHRF, **row, **chrf}]
    return made


def numbers_table(models: dict[str, dict]) -> Table:
    """The numbers of evaluation.json as a table, with the counts in the caption."""
    rows, thinking = [], any(numbers.get("in_thought") for numbers in models.values())
    for name, numbers in models.items():
        row = {"model": name, **nll_cells(numbers), "perplexity": f"{numbers['perplexity']:,.1f}"}
        row["chrF"] = f"{numbers['chrf']:.1f}"
        row["stops"] = share(numbers["stops"] * numbers["replies"], numbers["replies"])
        row |= {"repeats": f"{numbers['repetition']:.0%}", "tokens": f"{numbers['tokens']:.0f}"}
        if thinking:
            row["ended inside the thought"] = share(numbers["in_thought"], numbers["replies"])
        rows.append(row)
    caption = _("NLL on {rows} held-out conversations ({answer_tokens} answer tokens); the rest on {replies} replies")
    return Table(rows, caption=caption.format(**next(iter(models.values()))))


def better_table(paired: list[dict]) -> Table:
    """The paired comparisons as a table; the rule of the verdicts is its caption."""
    rows = []
    for gap in paired:
        row = {"model": _("{model} against {other}").format(model=gap["model"], other=_(gap["against"]))}
        row |= {"number": _(gap["number"]), "difference": f"{gap['difference']:+.3f}"}
        row |= {"interval": told_gap(gap, gap["number"]), "rows": gap["rows"], "verdict": _(gap["verdict"])}
        rows.append(row)
    margins = ", ".join(f"{_(number)} {margin:g}" for number, margin in MARGINS.items())
    caption = (told_level(len(paired)), _(STATES), _("Margins: {margins}.").format(margins=margins))
    return Table(rows, caption=" ".join(caption))
