"""Influence of a row: does a step on it go where the held-out rows want to go?"""

from __future__ import annotations

from math import cos, radians, sin

from docs.drawings.paper import SIDE, Drawing
from helpers.show.words import N_, _

WANTED = 20  # degrees: where a step would lower the held-out loss
ROWS = (
    (N_("a good row"), 45, "green", N_("it helps")),
    (N_("another subject"), 105, "soft", N_("it does neither")),
    (N_("a wrong answer"), 190, "red", N_("it harms")),
)
LONG = 120


def draw() -> Drawing:
    shares = {name: cos(radians(turn - WANTED)) for name, turn, _colour, _words in ROWS}
    told = "; ".join(f"{_(name)}: {share:+.2f}" for name, share in shares.items())
    alt = _(
        "Three small pictures. A blue arrow shows the step that would lower the held-out loss, a second arrow the step "
        "that one training row asks for. The part of the second along the first is the row's influence: {rows}."
    )
    sheet = Drawing("influence", alt.format(rows=told), 440)
    under = _("the step that one row asks for, beside the step that held-out rows ask for")
    sheet.head(_("The influence of a row"), under)
    for i, (name, turn, colour, words) in enumerate(ROWS):
        x, y = 190 + 290 * i, 250

        def tip(angle, length=LONG, x=x, y=y):
            return x + length * cos(radians(angle)), y - length * sin(radians(angle))

        share = shares[name]
        foot = tip(WANTED, LONG * share)
        sheet.path([(x, y), tip(WANTED)], "blue", 4, arrow=True)
        sheet.path([tip(turn), foot], "rule", 2, True)
        sheet.path([(x, y), foot], colour, 9)
        sheet.path([(x, y), tip(turn)], colour, 4, arrow=True)
        sheet.circle(x, y, 6, "ink")
        sheet.text(x, 366, _(name), 19, anchor="middle", bold=True)
        sheet.text(x, 394, f"{_(words)}: {share:+.2f}".replace("-", "−"), 18, colour, "middle", True)
    words = _("Blue lowers the held-out loss. Thick: the part of the row's own step along it.")
    sheet.text(SIDE, 122, words, 16, "soft")
    return sheet
