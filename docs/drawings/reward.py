"""One step of GRPO: four replies to one prompt, their rewards, and which of them become likelier."""

from __future__ import annotations

from statistics import mean, stdev

from docs.drawings.paper import SIDE, Drawing

CHECKS = ("JSON?", "time right?", "place right?")
REPLIES = (("all fields right", (1, 1, 1)), ("a wrong place", (1, 1, 0)), ("every field null", (1, 0, 0)),
           ("no entry at all", (0, 0, 0)))  # fmt: skip
TOP, ROW = 206, 66


def draw() -> Drawing:
    rewards = [sum(passed) for _, passed in REPLIES]
    middle, spread = mean(rewards), stdev(rewards)
    gains = [(reward - middle) / spread for reward in rewards]
    told = "; ".join(f"{name}: reward {r}, {g:+.2f}" for (name, _), r, g in zip(REPLIES, rewards, gains, strict=True))
    alt = (
        f"Four replies to one prompt, judged by three checks. The reward less the mean, in standard deviations: {told}."
    )
    sheet = Drawing("reward", alt, TOP + ROW * len(REPLIES) + 66)
    sheet.head("A reward step", "four replies to one prompt; each check is worth a point")
    columns, reward, gain = (330, 440, 560), 666, 760
    for x, words in zip(columns, CHECKS, strict=True):
        sheet.text(x, 150, words, 16, "soft", "middle", True)
    sheet.text(reward, 150, "reward", 16, "soft", "middle", True)
    sheet.text(gain + 66, 150, "less the mean", 16, "soft", "middle", True)
    axis = gain + 66
    sheet.path([(axis, TOP - 34), (axis, TOP + ROW * (len(REPLIES) - 1) + 30)], "rule", 2)
    for i, ((name, passed), r, g) in enumerate(zip(REPLIES, rewards, gains, strict=True)):
        y, colour = TOP + ROW * i, "green" if g > 0 else "red"
        sheet.text(SIDE, y + 6, name, 18, bold=True)
        for x, good in zip(columns, passed, strict=True):
            sheet.circle(x, y, 13, "green" if good else "paper", "green" if good else "soft", 2.5)
            sheet.text(x, y + 6, "1" if good else "0", 16, "paper" if good else "ink", "middle", True)
        sheet.text(reward, y + 8, r, 24, anchor="middle", bold=True)
        sheet.path([(axis, y), (axis + 46 * g, y)], colour, 5, arrow=True)
        sheet.text(
            axis + (-14 if g > 0 else 14), y + 6, f"{g:+.2f}".replace("-", "−"), 16, colour, "end" if g > 0 else "start"
        )
    words = f"In standard deviations of the four ({spread:.2f}). Above the mean: likelier. Below: less likely."
    sheet.text(SIDE, TOP + ROW * len(REPLIES) + 26, words, 17, "soft")
    return sheet
