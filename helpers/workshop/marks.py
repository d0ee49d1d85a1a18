"""class.csv: what a class has done, in the columns that Moodle, Canvas and nbgrader know.

A summary of what lies in the participants' folders, which are theirs to change: it is no proof of who did what.
"""

from __future__ import annotations

import csv
import io

from helpers.show.words import _
from helpers.workshop.progress import Progress

LABS = 7  # points to be had, one for each lab
# Moodle: Grades > Import > CSV, a row is found by "username". Canvas: Grades > Import, the columns before the last are its
# own and may be empty. nbgrader: the columns of `nbgrader export`, to be put beside that table.
SYSTEMS = {
    "moodle": ("username", "labs", "maximum", "tries", "notebook", "held-out loss", "labels red", "merge"),
    "canvas": ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Fine-tuning labs"),
    "nbgrader": ("assignment", "student_id", "score", "max_score"),
}


def class_csv(people: list[Progress], system: str = "moodle") -> str:
    """A row for each participant. Raises ValueError for another system."""
    if system not in SYSTEMS:
        sentence = _("system={system!r} is unknown: use {systems}.")
        raise ValueError(sentence.format(system=system, systems=", ".join(SYSTEMS)))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(SYSTEMS[system])
    if system == "canvas":
        table.writerow(["Points Possible", "", "", "", "", LABS])
    for person in people:
        table.writerow(_row(person, system))
    return text.getvalue()


def _row(person: Progress, system: str) -> list:
    name = f"'{person.name}" if person.name[:1] in "=+-@\t\r" else person.name  # a spreadsheet would compute it
    solved = sum(lab.solved for lab in person.labs.values())
    if system == "canvas":
        return [name, "", "", name, "", solved]
    if system == "nbgrader":
        return ["fine-tuning-labs", name, solved, LABS]
    tries = sum(lab.tries for lab in person.labs.values())
    return [name, solved, LABS, tries, person.stage, person.held_out, person.red_labels, person.merge]
