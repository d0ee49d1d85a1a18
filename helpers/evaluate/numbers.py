"""The numbers of evaluation.json: each model's own, and what may be said about the differences."""

from __future__ import annotations

from helpers.evaluate.counts import PAIRS
from helpers.evaluate.generation import Reply
from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import (
    ALPHA,
    CHRF,
    MARGINS,
    NLL,
    STATES,
    judge,
    paired_difference,
    ratio_interval,
    share,
    told_gap,
    told_interval,
)  # fmt: skip
from helpers.evaluate.replies import chrf_by_reply, reply_metrics
from helpers.show.tables import Table
from helpers.show.words import N_, _

MOST_CUT = 0.2  # share of replies; with more of them cut inside their thoughts, nothing is said about the answers
CUT = N_("unclear: too many replies were cut inside their thoughts, raise max_new_tokens")


def model_numbers(scores: Scores, replies: list[Reply], references: list[str]) -> dict:
    """One model's numbers on the held-out part: NLL with interval, perplexity, and those of its replies."""
    low, high = ratio_interval(scores.nll, scores.tokens)
    numbers = {"nll": scores.nll_per_token, "nll_low": low, "nll_high": high, "perplexity": scores.perplexity}
    counts = {"rows": len(scores.tokens), "answer_tokens": sum(scores.tokens)}
    return {**numbers, **counts, **reply_metrics(replies, references)}


def really_better(
    scores: dict[str, Scores], replies: dict[str, list[Reply]], references: list[str], pairs=PAIRS
) -> list[dict]:
    """Adapter against base, merged against adapter, on the same rows: one verdict per pair and number (see `judge`)."""
    made, verdicts = [], len(pairs) * len(MARGINS)
    for against, model in pairs:
        row = {"model": model, "against": against}
        nll = paired_difference(scores[against].nll, scores[model].nll, scores[against].tokens, verdicts)
        made.append({"number": NLL, **row, **nll, "verdict": judge(nll, NLL)})
        before, after = (chrf_by_reply(replies[name], references) for name in (against, model))
        chrf = paired_difference(before, after, [1] * len(references), verdicts)
        cut = max(_cut_in_thought(replies[name]) for name in (against, model))
        verdict = CUT if cut > MOST_CUT * len(references) else judge(chrf, CHRF)
        made.append({"number": CHRF, **row, **chrf, "verdict": verdict})
    return made


def _cut_in_thought(replies: list[Reply]) -> int:
    return sum(reply.in_thought and not reply.stopped for reply in replies)


def numbers_table(models: dict[str, dict]) -> Table:
    """The numbers of evaluation.json as a table, with the counts in the caption."""
    thoughts = any(numbers.get("in_thought") for numbers in models.values())
    rows = []
    for name, numbers in models.items():
        row = {
            "model": name,
            "NLL": f"{numbers['nll']:.3f}",
            "95 % interval": told_interval(numbers["nll_low"], numbers["nll_high"], ".3f"),
            "perplexity": f"{numbers['perplexity']:,.1f}",
            "chrF": f"{numbers['chrf']:.1f}",
            "stops": share(numbers["stops"] * numbers["replies"], numbers["replies"]),
            "repeats": f"{numbers['repetition']:.0%}",
            "tokens": f"{numbers['tokens']:.0f}",
        }
        if thoughts:
            row["ended inside the thought"] = share(numbers["in_thought"], numbers["replies"])
        rows.append(row)
    first = next(iter(models.values()))
    caption = _("NLL on {rows} held-out conversations ({tokens} answer tokens); the rest on {replies} replies")
    counts = {"rows": first["rows"], "tokens": first["answer_tokens"], "replies": first["replies"]}
    return Table(rows, caption=caption.format(**counts))


def better_table(paired: list[dict]) -> Table:
    """The paired comparisons as a table; the rule of the verdicts is its caption."""
    rows = [
        {
            "model": _("{model} against {other}").format(model=row["model"], other=row["against"]),
            "number": _(row["number"]),
            "difference": f"{row['difference']:+.3f}",
            "interval": told_gap(row, row["number"]),
            "rows": row["rows"],
            "verdict": _(row["verdict"]),
        }
        for row in paired
    ]
    level = _("Intervals of {level} % each, so that all {count} hold in 95 % of such pages.")
    level = level.format(level=f"{100 * (1 - ALPHA / len(paired)):.4g}", count=len(paired))
    margins = ", ".join(f"{_(number)} {margin:g}" for number, margin in MARGINS.items())
    margins = _("Margins: {margins}.").format(margins=margins)
    return Table(rows, caption=f"{level} {_(STATES)} {margins}")
