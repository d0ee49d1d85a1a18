"""A guess is one click, kept with the run; the board counts those that it can read."""

import json

import pytest

from helpers.runs import RunDir
from helpers.workshop import guess as guessing
from helpers.workshop.board import page
from helpers.workshop.guess import GUESSES, guess, keep
from tests.workshop.test_class import participant


def test_a_click_is_kept_and_the_last_one_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(guessing, "is_interactive", lambda: True)
    run = RunDir(tmp_path)
    for place in (2, 0):
        buttons = guess("04", run).widget.children[1].children
        buttons[place].click()
        assert all(button.disabled for button in buttons) and buttons[place].button_style == "info"
    keep(run, "05", 1)
    assert json.loads((run.labs / guessing.FILE).read_text()) == {"04": 0, "05": 1}
    for button in guess("00").widget.children[1].children[:1]:
        button.click()  # the first look has no run


def test_without_widgets_the_answers_can_be_read():
    shown = repr(guess("05"))
    assert all(answer in shown for answer in GUESSES["05"].answers) and GUESSES["05"].question in shown


@pytest.mark.parametrize("written", ['{"04": 7}', '{"04": "x"}', '{"<b>": 0}', "[]", "{", '{"04": true}'])
def test_the_board_counts_what_was_guessed_and_nothing_else(tmp_path, written):
    for name, place in (("kim", 0), ("lee", 0), ("park", 2)):
        keep(participant(tmp_path, name, step=1), "04", place)
    (participant(tmp_path, "cheat", step=1).labs / guessing.FILE).write_text(written)
    shown, answers = page(tmp_path), GUESSES["04"].answers
    counts = " · ".join(f"{answer}: {count}" for answer, count in zip(answers, (2, 0, 1), strict=True))
    assert GUESSES["04"].question in shown and counts in shown and "<b>: " not in shown
