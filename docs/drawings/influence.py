"""Influence of a row: does a step on it go where the held-out rows want to go?"""

from __future__ import annotations

from math import cos, radians, sin

from docs.drawings.paper import SIDE, Drawing

WANTED = 20  # degrees: where a step would lower the held-out loss
ROWS = (("a good row", 45, "green", "it helps"), ("another subject", 105, "soft", "it does neither"),
        ("a wrong answer", 190, "red", "it harms"))  # fmt: skip
LONG = 120


def draw() -> Drawing:
    shares = {name: cos(radians(turn - WANTED)) for name, turn, _, _ in ROWS}
    told = "; ".join(f"{name}: {share:+.2f}" for name, share in shares.items())
    alt = (
        "Three small pictures. A blue arrow shows the step that would lower the held-out loss, a second arrow the step "
        f"that one training row asks for. The part of the second along the first is the row's influence: {told}."
    )
    sheet = Drawing("influence", alt, 440)
    sheet.head("The influence of a row", "the step that one row asks for, beside the step that held-out rows ask for")
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
        sheet.text(x, 366, name, 19, anchor="middle", bold=True)
        sheet.text(x, 394, f"{words}: {share:+.2f}".replace("-", "−"), 18, colour, "middle", True)
    sheet.text(
        SIDE,
        122,
        "Blue lowers the held-out loss. Thick: the part of the row's own step along it.",
        16,
        "soft",
    )
    return sheet
