"""A stored run that overfits, to lay beside one's own: docs/data/overfit.jsonl, made by proofs.bench_overfit."""

from __future__ import annotations

from functools import cache

from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.show.pictures import Picture, chart
from helpers.show.words import _

FILE = PROJECT_ROOT / "docs" / "data" / "overfit.jsonl"


def overfit_chart() -> Picture:
    """Training and held-out loss of the stored run; a star is the checkpoint that `keep="best"` would use."""
    head, losses, best = _read()
    figure, axes = chart(8, 3)
    for name, label in (("loss", _("training")), ("eval_loss", _("held out"))):
        axes.plot(*zip(*losses[name].items(), strict=True), marker="o", markersize=3, label=label)
    axes.plot([best], [losses["eval_loss"][best]], marker="*", markersize=13, color="C1")
    axes.set_ylim(0)
    axes.set(xlabel=_("optimizer step"), ylabel=_("loss (nats per token)"))
    title = _("a stored run: {rows} rows, read {epochs} times ({preset}, {date}, {hardware})")
    axes.set_title(title.format(**head), fontsize=10)
    axes.legend()
    return Picture(figure, overfit_told())


def overfit_told() -> str:
    """What its two curves do, in a sentence."""
    head, losses, best = _read()
    held = losses["eval_loss"]
    sentence = _(
        "A stored run on {rows} rows overfits: its held-out loss is lowest at step {best}, {lowest:.3f}, and {end:.3f} "
        "at step {last}, while its training loss falls to {training:.4f}."
    )
    values = {"best": best, "lowest": held[best], "end": held[max(held)], "last": max(held)}
    return sentence.format(rows=head["rows"], **values, training=losses["loss"][max(losses["loss"])])


@cache
def _read() -> tuple[dict, dict[str, dict[int, float]], int]:
    """What, when and where; training and held-out loss by step; the step where the held-out one is lowest."""
    head, *rows = read_jsonl(FILE)
    losses = {name: {row["step"]: row[name] for row in rows if name in row} for name in ("loss", "eval_loss")}
    return head, losses, min(losses["eval_loss"], key=losses["eval_loss"].__getitem__)
