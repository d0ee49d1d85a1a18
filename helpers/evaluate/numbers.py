"""The numbers of evaluation.json: each model's own, and what may be said about the differences."""

from __future__ import annotations

from helpers.evaluate.counts import PAIRS
from helpers.evaluate.generation import Reply
from helpers.evaluate.held_out import Scores, nll_cells
from helpers.evaluate.intervals import CHRF, MARGINS, NLL, STATES, judged_difference, percent_level, share, told_gap
from helpers.evaluate.replies import chrf_by_reply, reply_metrics
from helpers.show.tables import Table
from helpers.show.words import N_, _

MOST_CUT = 0.2  # share of replies; with more of them cut inside their thoughts, nothing is said about the answers
CUT = N_("unclear: too many replies were cut inside their thoughts, raise max_new_tokens")


def model_numbers(scores: Scores, replies: list[Reply], references: list[str]) -> dict:
    """One model's numbers on the held-out part: NLL with interval, perplexity, and those of its replies."""
    counts = {"perplexity": scores.perplexity, "rows": len(scores.tokens), "answer_tokens": sum(scores.tokens)}
    return {**scores.numbers(), **counts, **reply_metrics(replies, references)}


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
        if max(_cut_in_thought(replies[name]) for name in (against, model)) > MOST_CUT * len(references):
            chrf["verdict"] = CUT
        made += [{"number": NLL, **row, **nll}, {"number": CHRF, **row, **chrf}]
    return made


def _cut_in_thought(replies: list[Reply]) -> int:
    return sum(reply.in_thought and not reply.stopped for reply in replies)


def numbers_table(models: dict[str, dict]) -> Table:
    """The numbers of evaluation.json as a table, with the counts in the caption."""
    rows = []
    for name, numbers in models.items():
        row = {"model": name, **nll_cells(numbers), "perplexity": f"{numbers['perplexity']:,.1f}"}
        row["chrF"] = f"{numbers['chrf']:.1f}"
        row["stops"] = share(numbers["stops"] * numbers["replies"], numbers["replies"])
        row["repeats"], row["tokens"] = f"{numbers['repetition']:.0%}", f"{numbers['tokens']:.0f}"
        if any(other.get("in_thought") for other in models.values()):
            row["ended inside the thought"] = share(numbers["in_thought"], numbers["replies"])
        rows.append(row)
    first = next(iter(models.values()))
    caption = _("NLL on {rows} held-out conversations ({tokens} answer tokens); the rest on {replies} replies")
    counts = {"rows": first["rows"], "tokens": first["answer_tokens"], "replies": first["replies"]}
    return Table(rows, caption=caption.format(**counts))


def better_table(paired: list[dict]) -> Table:
    """The paired comparisons as a table; the rule of the verdicts is its caption."""
    rows = []
    for gap in paired:
        row = {"model": _("{model} against {other}").format(model=gap["model"], other=_(gap["against"]))}
        row |= {"number": _(gap["number"]), "difference": f"{gap['difference']:+.3f}"}
        row |= {"interval": told_gap(gap, gap["number"]), "rows": gap["rows"], "verdict": _(gap["verdict"])}
        rows.append(row)
    level = _("Intervals of {level} % each, so that all {count} hold in 95 % of such pages.")
    level = level.format(level=percent_level(len(paired)), count=len(paired))
    margins = ", ".join(f"{_(number)} {margin:g}" for number, margin in MARGINS.items())
    return Table(rows, caption=f"{level} {_(STATES)} {_('Margins: {margins}.').format(margins=margins)}")
