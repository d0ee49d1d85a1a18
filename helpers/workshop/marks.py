"""class.csv: what a class has done, in the columns that Moodle, Canvas and nbgrader know.

A summary of what lies in the participants' folders, which are theirs to change: it is no proof of who did what.
"""

from __future__ import annotations

import csv
import io

from helpers.show.words import _
from helpers.workshop.labs import LABS
from helpers.workshop.progress import Progress

# A lab is a point. Moodle: Grades > Import > CSV, a row is found by "username". Canvas: Grades > Import, the columns
# before the last are its own and may be empty. nbgrader: the columns of `nbgrader export`, to be put beside that table.
SYSTEMS = {  # the columns, and what of a participant stands there
    "moodle": {
        "username": "name", "labs": "solved", "maximum": "most", "tries": "tries", "notebook": "furthest",
        "held-out loss": "held_out", "labels red": "red_labels", "merge": "merge",
    },
    "canvas": {
        "Student": "name", "ID": "", "SIS User ID": "", "SIS Login ID": "name", "Section": "",
        "Fine-tuning labs": "solved",
    },
    "nbgrader": {"assignment": "title", "student_id": "name", "score": "solved", "max_score": "most"},
}  # fmt: skip


def class_csv(people: list[Progress], system: str = "moodle") -> str:
    """A row for each participant. Raises ValueError for another system."""
    if system not in SYSTEMS:
        sentence = _("system={system!r} is unknown: use {systems}.")
        raise ValueError(sentence.format(system=system, systems=", ".join(SYSTEMS)))
    columns, text = SYSTEMS[system], io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    if system == "canvas":
        table.writerow(["Points Possible", "", "", "", "", len(LABS)])
    for person in people:
        cells = _cells(person)
        table.writerow(cells.get(key, "") for key in columns.values())
    return text.getvalue()


def _cells(person: Progress) -> dict:
    name = f"'{person.name}" if person.name[:1] in "=+-@\t\r" else person.name  # a spreadsheet would compute it
    solved, tries = sum(lab.solved for lab in person.labs.values()), sum(lab.tries for lab in person.labs.values())
    own = {"name": name, "title": "fine-tuning-labs", "solved": solved, "most": len(LABS), "tries": tries}
    return vars(person) | own
