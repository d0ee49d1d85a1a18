"""Token, adapter, loss, held out and merge: the five words of the first look on one sheet."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.show.words import _

TOKENS = ("L", "unch", " with", " Mar", "a")  # as the tokenizer of the demo model cuts "Lunch with Mara"


def draw() -> Drawing:
    alt = _(
        "Five words. 1, tokens: Lunch with Mara is cut into five pieces. 2, the adapter: a small trained box below a "
        "large frozen model. 3, the loss: how surprised the model is at the right answer, a tall bar before and a "
        "short one after. 4, held out: a few of the rows are kept apart, to judge. 5, merge: model and adapter "
        "become one model."
    )
    sheet = Drawing("five_words", alt, 560)
    sheet.head(_("Five words"), _("a message goes through the model; few of its numbers learn"))

    def word(x, y, number, name, under):
        sheet.text(x, y, f"**{number} {name}**", 20, "blue")
        sheet.text(x, y + 26, under, 16, "soft")

    top, x = 180, float(SIDE)
    word(SIDE, 130, 1, _("token"), _("what a model reads and writes"))
    for token in TOKENS:
        width = 22 + 11 * len(token.strip())
        sheet.box(x, top, width, 44, "paper", "ink", 6, 1.5)
        sheet.text(x + width / 2, top + 29, token.strip(), 17, anchor="middle", mono=True)
        x += width + 6
    sheet.path([(x + 6, top + 22), (388, top + 22)], "ink", 3, arrow=True)

    word(400, 130, 2, _("adapter"), _("the branch that learns"))
    sheet.box(400, top, 190, 76, "blue-wash", "blue")
    sheet.text(495, top + 45, _("model, frozen"), 18, anchor="middle", bold=True)
    sheet.box(440, top + 88, 110, 34, "green-wash", "green")
    sheet.text(495, top + 111, _("adapter"), 17, anchor="middle", bold=True)
    sheet.path([(602, top + 22), (648, top + 22)], "ink", 3, arrow=True)

    word(664, 130, 3, _("loss"), _("surprise at the right answer"))
    foot = top + 122
    for left, high, name in ((690, 112, _("untrained")), (800, 26, _("trained"))):
        sheet.box(left, foot - high, 64, high, "orange-wash", "orange", 3)
        sheet.text(left + 32, foot + 26, name, 16, "soft", "middle")
    sheet.path([(664, foot), (WIDTH - SIDE, foot)], "rule", 2)

    sheet.path([(SIDE, 354), (WIDTH - SIDE, 354)], "rule", 1.5)
    low = 450
    word(SIDE, 398, 4, _("held out"), _("rows that are never learned from, so they can judge"))
    for place in range(12):
        judge = place >= 10
        fill = ("orange-wash", "orange") if judge else ("green-wash", "green")
        sheet.box(SIDE + 27 * place + 20 * judge, low, 20, 60, *fill, 3, 1.5)
    sheet.text(SIDE + 130, low + 86, _("learned from"), 16, "soft", "middle")
    sheet.text(SIDE + 314, low + 86, _("held out"), 16, "soft", "middle")

    word(530, 398, 5, _("merge"), _("the adapter goes into the model"))
    sheet.box(530, low, 110, 60, "blue-wash", "blue")
    sheet.text(585, low + 37, _("model"), 17, anchor="middle")
    sheet.text(656, low + 38, "+", 26, anchor="middle", bold=True)
    sheet.box(672, low + 12, 92, 36, "green-wash", "green")
    sheet.text(718, low + 36, _("adapter"), 17, anchor="middle")
    sheet.path([(774, low + 30), (804, low + 30)], "ink", 3, arrow=True)
    sheet.box(808, low, 116, 60, "blue-wash", "green")
    sheet.text(866, low + 37, _("one model"), 17, anchor="middle", bold=True)
    return sheet
