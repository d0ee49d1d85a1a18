"""Forks as a tree: what a change leaves valid is shared, the rest is made again."""

from __future__ import annotations

from docs.drawings.paper import SIDE, Drawing
from helpers.runs.forks import STEPS
from helpers.settings import names_of
from helpers.show.words import N_, _

PARTS = {"03": N_("data"), "04": N_("adapter"), "05": N_("merged"), "06": N_("report"), "07": N_("gguf")}
FORKS = {"max_length=128": "max_length", "lora_r=2": "lora_r", "temperature=0.7": "temperature"}
TOP, ROW, FIRST, STEP = 156, 92, 372, 108


def first_again(setting: str) -> str:
    """The notebook from which a run with another value of `setting` is made again."""
    return next(number for stages, number, _words in STEPS if setting in names_of(*stages))


def draw() -> Drawing:
    again = {words: first_again(setting) for words, setting in FORKS.items()}
    made = _("{setting} is made again from {number} on")
    told = "; ".join(made.format(setting=words, number=number) for words, number in again.items())
    alt = _("A run and three forks, as a tree. Each shares with its parent what its change leaves valid: {forks}.")
    sheet = Drawing("forks", alt.format(forks=told), TOP + ROW * (len(FORKS) + 1) + 26)
    sheet.head(_("A fork: one thing changed"), _("what the change leaves valid is shared, and takes no room"))

    def row(y, name, start):
        for i, (number, part) in enumerate(PARTS.items()):
            x, new = FIRST + STEP * i, number >= start
            sheet.box(
                x, y - 24, 92, 48, "orange-wash" if new else "green-wash", "orange" if new else "green", 6, 2, new
            )
            sheet.text(x + 46, y + 6, _(part), 16, anchor="middle")
        sheet.text(FIRST - 24, y + 6, name, 17, anchor="end", bold=True, mono=True)

    trunk = SIDE + 24
    sheet.path([(trunk, TOP + 16), (trunk, TOP + ROW * len(FORKS))], "blue", 3)
    row(TOP, "demo", "99")
    for i, (words, number) in enumerate(again.items(), start=1):
        y = TOP + ROW * i
        sheet.path([(trunk, y), (trunk + 56, y)], "blue", 3, arrow=True)
        row(y, words, number)
    sheet.circle(trunk, TOP, 14, "blue-wash", "blue", 3)
    y = TOP + ROW * len(FORKS) + 72
    sheet.box(SIDE, y - 17, 26, 22, "green-wash", "green", 4)
    sheet.text(SIDE + 38, y, _("shared with the parent"), 17)
    sheet.box(SIDE + 290, y - 17, 26, 22, "orange-wash", "orange", 4, 2, True)
    sheet.text(SIDE + 328, y, _("made again, by the notebook that makes it"), 17)
    return sheet
