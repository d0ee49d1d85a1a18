"""Guess first: a question before the cell that answers it, one click, counted for the class.

Nobody is told right or wrong: the output below says it. A guess is kept in the run's labs/guesses.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from helpers.files import read_json, write_json
from helpers.runs import RunDir
from helpers.show.clicks import telling
from helpers.show.notebook import is_interactive
from helpers.show.pictures import Playable
from helpers.show.tables import Table
from helpers.show.words import N_, _

FILE = "guesses.json"  # in the run's labs/: {guess: number of the answer}


@dataclass(frozen=True)
class Guess:
    """A question, and the answers to choose from; English, translated where they are shown."""

    question: str
    answers: tuple[str, ...]


GUESSES = {
    "00": Guess(N_("After 20 steps, how many of 20 new messages will be entered right?"),
                (N_("none to 3"), N_("4 to 10"), N_("more than 10"))),
    "03": Guess(N_("How many tokens of a row does the training learn?"),
                (N_("every one of them"), N_("about a third to a half"), N_("under a tenth"))),
    "04": Guess(N_("When will the held-out loss have fallen most?"),
                (N_("in the first quarter of the steps"), N_("evenly, to the end"), N_("in the last quarter"))),
    "05": Guess(N_("The merge is packed into 4 bits again. How much of the training is left?"),
                (N_("nearly all"), N_("about half"), N_("less than a third"))),
    "06": Guess(N_("The model learned one task. What of its general knowledge?"),
                (N_("as before"), N_("a little worse"), N_("much worse"))),
    "07": Guess(N_("The smallest file has less than half of the bytes. How often does it choose the same next token?"),
                (N_("at 99 of 100 tokens or more"), N_("at 90 to 99"), N_("at fewer than 90"))),
}  # fmt: skip


def guess(number: str, run: RunDir | None = None) -> Table | Playable:
    """The question before a key cell of notebook `number`, a button for each answer; a table where nobody can click.

    The first look has no run, and keeps nothing. Raises KeyError for a page without a guess."""
    asked = GUESSES[number]
    still = Table([{"ABC"[place]: _(answer) for place, answer in enumerate(asked.answers)}], caption=_(asked.question))
    return Playable(_buttons(number, asked, run), still) if is_interactive() else still


def _buttons(number: str, asked: Guess, run: RunDir | None):
    import ipywidgets

    buttons = [ipywidgets.Button(description=_(answer), layout={"width": "auto"}) for answer in asked.answers]
    told = ipywidgets.Label()

    def click(chosen):
        if run:
            keep(run, number, buttons.index(chosen))
        for button in buttons:
            button.disabled, button.button_style = True, "info" if button is chosen else ""

    for button in buttons:
        button.on_click(telling(told, click))
    return ipywidgets.VBox([ipywidgets.Label(_(asked.question)), ipywidgets.HBox(buttons), told])


def keep(run: RunDir, number: str, answer: int) -> None:
    """The guess on page `number`; a second one replaces the first."""
    file = run.labs / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, (read_json(file) if file.exists() else {}) | {number: answer})
