"""What a run's training changed: NLL with its interval, and replies that stop. `docs.make_gallery` draws it for the README."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing

LEFT, RIGHT, REPLIES = 170, 560, 660  # ends of the axis; x of the first reply
TOP, ROW = 196, 78  # y of the first model; height of a row
LOOKS = {"base": ("paper", "soft"), "adapter": ("green", "green"), "merged": ("blue", "blue")}  # inside, outline


def draw(evaluation: dict, run: str) -> Drawing:
    """The sheet of one evaluation.json. Raises KeyError for one that lacks a number."""
    models = {name: found for name, found in evaluation["models"].items() if name in LOOKS}
    some = next(iter(models.values()))
    stops = {name: round(found["stops"] * found["replies"]) for name, found in models.items()}
    told = "; ".join(
        f"{name} {found['nll']:.2f}, {stops[name]} of {found['replies']}" for name, found in models.items()
    )
    alt = f"Held-out NLL with its 95 % interval, and how many replies stop by themselves: {told}."
    sheet = Drawing("result", alt, TOP + ROW * len(models) + 8)
    under = f"run {run}: {some['rows']} held-out conversations, {some['answer_tokens']:,} answer tokens"
    sheet.head("What the training changed", under)
    sheet.text(LEFT, 134, "NLL, nats per token: lower is better", 17, "soft", bold=True)
    sheet.text(REPLIES, 134, "replies that stop", 17, "soft", bold=True)

    high = max(m["nll"] if m["nll_high"] is None else m["nll_high"] for m in models.values())
    foot = TOP + ROW * len(models) - 40

    def x(value: float) -> float:
        return LEFT + value / (1.08 * high) * (RIGHT - LEFT)

    sheet.path([(LEFT, TOP - 30), (LEFT, foot)], "ink", 2)
    sheet.text(LEFT, foot + 24, "0 = certain", 16, "soft", "middle")

    for row, (name, found) in enumerate(models.items()):
        y, (inside, outline) = TOP + ROW * row, LOOKS[name]
        sheet.text(SIDE, y + 6, name, 20, bold=True)
        sheet.path([(LEFT, y), (RIGHT, y)], "rule", 1.5)
        if found["nll_low"] is not None:  # None: a single conversation has no interval
            sheet.path([(x(found["nll_low"]), y), (x(found["nll_high"]), y)], outline, 6)
        sheet.circle(x(found["nll"]), y, 9, inside, outline, 3.5)
        sheet.text(x(found["nll"]), y - 20, f"{found['nll']:.2f}", 19, anchor="middle", bold=True)
        size = min((WIDTH - SIDE - REPLIES - 84) / found["replies"], 22)
        for i in range(found["replies"]):
            done = i < stops[name]
            look = (outline, outline) if done else ("paper", "rule")
            sheet.box(REPLIES + i * size, y - 10, size - 4, 20, *look, radius=3, thick=1.5)
        sheet.text(WIDTH - SIDE, y + 6, f"{stops[name]} of {found['replies']}", 17, anchor="end")
    return sheet
