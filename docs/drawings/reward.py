"""One step of GRPO: four replies to one prompt, their rewards, and which of them become likelier."""

from __future__ import annotations

from statistics import mean, stdev

from docs.drawings.paper import SIDE, Drawing
from helpers.show.words import N_, _

CHECKS = (N_("JSON?"), N_("time right?"), N_("place right?"))
REPLIES = (
    (N_("all fields right"), (1, 1, 1)),
    (N_("a wrong place"), (1, 1, 0)),
    (N_("every field null"), (1, 0, 0)),
    (N_("no entry at all"), (0, 0, 0)),
)
TOP, ROW = 206, 66


def draw() -> Drawing:
    rewards = [sum(passed) for _reply, passed in REPLIES]
    middle, spread = mean(rewards), stdev(rewards)
    gains = [(reward - middle) / spread for reward in rewards]
    one, worth = _("{reply}: reward {reward}, {gain}"), zip(REPLIES, rewards, gains, strict=True)
    told = "; ".join(one.format(reply=_(reply[0]), reward=r, gain=f"{g:+.2f}") for reply, r, g in worth)
    alt = _(
        "Four replies to one prompt, judged by three checks. "
        "The reward less the mean, in standard deviations: {replies}."
    )
    sheet = Drawing("reward", alt.format(replies=told), TOP + ROW * len(REPLIES) + 66)
    sheet.head(_("A reward step"), _("four replies to one prompt; each check is worth a point"))
    columns, reward, gain = (330, 440, 560), 666, 760
    for x, words in zip(columns, CHECKS, strict=True):
        sheet.text(x, 150, _(words), 16, "soft", "middle", True)
    sheet.text(reward, 150, _("reward"), 16, "soft", "middle", True)
    sheet.text(gain + 66, 150, _("less the mean"), 16, "soft", "middle", True)
    axis = gain + 66
    sheet.path([(axis, TOP - 34), (axis, TOP + ROW * (len(REPLIES) - 1) + 30)], "rule", 2)
    for i, ((name, passed), r, g) in enumerate(zip(REPLIES, rewards, gains, strict=True)):
        y, colour = TOP + ROW * i, "green" if g > 0 else "red"
        sheet.text(SIDE, y + 6, _(name), 18, bold=True)
        for x, good in zip(columns, passed, strict=True):
            sheet.circle(x, y, 13, "green" if good else "paper", "green" if good else "soft", 2.5)
            sheet.text(x, y + 6, "1" if good else "0", 16, "paper" if good else "ink", "middle", True)
        sheet.text(reward, y + 8, r, 24, anchor="middle", bold=True)
        sheet.path([(axis, y), (axis + 46 * g, y)], colour, 5, arrow=True)
        sheet.text(
            axis + (-14 if g > 0 else 14), y + 6, f"{g:+.2f}".replace("-", "−"), 16, colour, "end" if g > 0 else "start"
        )
    words = _("In standard deviations of the four ({spread}). Above the mean: likelier. Below: less likely.")
    sheet.text(SIDE, TOP + ROW * len(REPLIES) + 26, words.format(spread=f"{spread:.2f}"), 17, "soft")
    return sheet
