"""A blind vote: who wrote which reply is drawn by lot and opened only after the click."""

from __future__ import annotations

from docs.drawings.paper import SIDE, Drawing
from helpers.evaluate.intervals import wilson_interval
from helpers.show.words import _

WON, OF = 8, 10


def draw() -> Drawing:
    low, high = wilson_interval(WON, OF)
    alt = _(
        "One question goes to base and adapter. A coin decides which reply is called A and which B. You choose one "
        "without knowing its writer; only then the names are shown and the vote is kept. "
        "{won} of {of} votes still mean a share from {low} to {high}."
    ).format(won=WON, of=OF, low=f"{low:.0%}", high=f"{high:.0%}")
    sheet = Drawing("blind_vote", alt, 430)
    sheet.head(_("Vote blind"), _("you judge the reply, not the name of its writer"))
    middle, up, down = 230, 165, 295

    def card(x, y, width, words, wash, line):
        sheet.box(x, y - 30, width, 60, wash, line)
        sheet.text(x + width / 2, y + 6, words, 18, anchor="middle", bold=True)

    card(SIDE, middle, 130, _("question"), "paper", "soft")
    for y, name, line in ((up, _("base"), "soft"), (down, _("adapter"), "green")):
        card(236, y, 120, name, "paper" if line == "soft" else "green-wash", line)
        sheet.path([(SIDE + 134, middle), (232, y)], "soft", 2.5, arrow=True)
        sheet.path([(360, y), (426, middle)], line, 2.5, arrow=True)
    sheet.circle(462, middle, 34, "orange-wash", "orange", 3)
    sheet.text(462, middle + 7, _("coin"), 18, anchor="middle", bold=True)
    for y, name in ((up, _("reply A")), (down, _("reply B"))):
        card(560, y, 130, name, "blue-wash", "blue")
        sheet.path([(498, middle), (556, y)], "orange", 2.5, arrow=True)
        sheet.path([(694, y), (748, middle)], "blue", 2.5, arrow=True)
    card(752, middle, 172, _("your click"), "paper", "ink")
    sheet.path([(838, middle + 34), (838, 346)], "ink", 2.5, arrow=True)
    sheet.text(838, 374, _("now: who wrote it?"), 17, "green", "middle", True)
    words = _("{won} of {of} votes for one model: its true share may be {low} to {high}.")
    filled = words.format(won=WON, of=OF, low=f"{low:.0%}", high=f"{high:.0%}")
    sheet.text(SIDE, 396, filled, 17, "soft")
    return sheet
