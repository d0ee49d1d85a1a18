"""What a run's training changed: NLL with its interval, and the replies that are right. `docs.make_gallery` draws
it."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.show.words import _

LEFT, RIGHT, REPLIES = 170, 560, 660  # ends of the axis; x of the first reply
CLEAR = 30  # half a number's width, and air
TOP, ROW = 196, 78  # y of the first model; height of a row
LOOKS = {"base": ("paper", "soft"), "adapter": ("green", "green"), "merged": ("blue", "blue")}  # inside, outline


def passed(evaluation: dict, models: dict) -> tuple[str, dict[str, int], int]:
    """What is counted, for each model, and of how many: the check `exact` where the run has one, else replies that
    stop."""
    exact = evaluation.get("checks", {}).get("exact")
    if exact:
        return _("replies that are right"), {name: exact[name] for name in models}, exact["of"]
    of = next(iter(models.values()))["replies"]
    return _("replies that stop"), {name: round(found["stops"] * of) for name, found in models.items()}, of


def draw(evaluation: dict, run: str) -> Drawing:
    """The sheet of one evaluation.json. Raises KeyError for one that lacks a number."""
    models = {name: found for name, found in evaluation["models"].items() if name in LOOKS}
    some = next(iter(models.values()))
    label, right, of = passed(evaluation, models)
    each = {name: _("{right} of {of}").format(right=right[name], of=of) for name in models}
    told = "; ".join(f"{_(name)} {found['nll']:.2f}, {each[name]}" for name, found in models.items())
    alt = _("Held-out NLL with its 95 % interval, and {label}: {models}.").format(label=label, models=told)
    sheet = Drawing("result", alt, TOP + ROW * len(models) + 8)
    under = _("run {run}: {rows} held-out conversations, {tokens} answer tokens")
    filled = under.format(run=run, rows=some["rows"], tokens=f"{some['answer_tokens']:,}")
    sheet.head(_("What the training changed"), filled)
    sheet.text(LEFT, 134, _("NLL, nats per token: lower is better"), 17, "soft", bold=True)
    sheet.text(REPLIES, 134, label, 17, "soft", bold=True)

    high = max(m["nll"] if m["nll_high"] is None else m["nll_high"] for m in models.values())
    foot = TOP + ROW * len(models) - 40

    def x(value: float) -> float:
        return LEFT + value / (1.08 * high) * (RIGHT - LEFT)

    sheet.path([(LEFT, TOP - 30), (LEFT, foot)], "ink", 2)
    sheet.text(LEFT, foot + 24, _("0 = certain"), 16, "soft", "middle")

    for row, (name, found) in enumerate(models.items()):
        y, (inside, outline) = TOP + ROW * row, LOOKS[name]
        sheet.text(SIDE, y + 6, _(name), 20, bold=True)
        sheet.path([(LEFT, y), (RIGHT, y)], "rule", 1.5)
        if found["nll_low"] is not None:  # None: a single conversation has no interval
            sheet.path([(x(found["nll_low"]), y), (x(found["nll_high"]), y)], outline, 6)
        sheet.circle(x(found["nll"]), y, 9, inside, outline, 3.5)
        beside = max(x(found["nll"]), LEFT + CLEAR)  # of the axis, which would strike it through
        sheet.text(beside, y - 20, f"{found['nll']:.2f}", 19, anchor="middle", bold=True)
        size = min((WIDTH - SIDE - REPLIES - 84) / of, 22)
        for i in range(of):
            done = i < right[name]
            look = (outline, outline) if done else ("paper", "rule")
            sheet.box(REPLIES + i * size, y - 10, max(size - 4, 2), 20, *look, radius=3, thick=1.5)
        sheet.text(WIDTH - SIDE, y + 6, each[name], 17, anchor="end")
    return sheet
