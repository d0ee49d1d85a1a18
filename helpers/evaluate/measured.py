"""One measured model in a line: how the merge report keeps it, and how a page shows it."""

from __future__ import annotations

from helpers.evaluate.held_out import Scores
from helpers.evaluate.intervals import paired_difference, ratio_interval, share, told_interval
from helpers.report import Table

VERDICTS = 2  # of 05: which merge, and did it lose quality


def measured_row(scores: Scores, adapter: Scores, replies: list | None = None) -> dict:
    """One model's line: NLL per token with interval, distance to the adapter, share of replies that stop."""
    low, high = ratio_interval(scores.nll, scores.tokens)
    row = {"nll": scores.nll_per_token, "nll_low": low, "nll_high": high}
    row["against_adapter"] = paired_difference(adapter.nll, scores.nll, scores.tokens, VERDICTS)
    if scores.kl:
        row |= {"kl": scores.kl_per_token, "agreement": scores.agreement}
    if replies:
        row |= {"stops": sum(reply.stopped for reply in replies) / len(replies), "replies": len(replies)}
    return row


def measured_table(report: dict) -> Table:
    """The measured rows; NLL in nats per answer token."""
    rows = []
    for name, row in report["measured"].items():
        rows.append(
            {
                "model": f"{name}  ← chosen" if name == report["chosen"] else name,
                "NLL": f"{row['nll']:.3f}",
                "95 % interval": told_interval(row["nll_low"], row["nll_high"], ".3f"),
                "KL to adapter": f"{row['kl']:.4f}" if "kl" in row else "",
                "same first choice": f"{row['agreement']:.1%}" if "agreement" in row else "",
                "replies that stop": share(row["stops"] * row["replies"], row["replies"]) if "stops" in row else "",
            }
        )
    counts = report["counts"]
    told = f"{counts['rows']} held-out conversations, {counts['tokens']} answer tokens"
    fewer = counts.get("compared_rows", counts["rows"])  # old reports measured all of it on the same rows
    return Table(rows, caption=told if fewer == counts["rows"] else f"{told}; KL and first choice on {fewer} of them")
