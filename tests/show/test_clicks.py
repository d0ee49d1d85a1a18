"""A click whose work fails says so beside the button: JupyterLab shows a reader nothing of it."""

import re
from types import SimpleNamespace

import ipywidgets
import pytest

from helpers.evaluate import voting
from helpers.evaluate.decoding import PromptTooLong
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from helpers.show.clicks import telling
from helpers.workshop import first_look, guess


def test_every_callback_of_a_widget_tells_its_faults():
    calls = {
        f"{path.name}: {call}"
        for path in (*PROJECT_ROOT.glob("helpers/**/*.py"), *PROJECT_ROOT.glob("notebooks/**/*.ipynb"))
        for call in re.findall(r"\.(?:on_click|observe|on_submit)\([^,\n]*", path.read_text(encoding="utf-8"))
    }
    assert len(calls) >= 5
    assert [call for call in sorted(calls) if "(telling(" not in call] == []


def test_a_fault_is_written_and_raised_and_the_next_click_clears_it():
    told, asked = ipywidgets.Label(), []

    def callback(event):
        asked.append(event)
        if event == "bad":
            raise OSError("no space left")

    click = telling(told, callback)
    with pytest.raises(OSError, match="no space left"):
        click("bad")
    assert told.value == "OSError: no space left"
    click("good")
    assert told.value == "" and asked == ["bad", "good"]


def test_a_message_that_is_too_long_is_told_in_the_first_look(monkeypatch):
    def generate_replies(model, tokenizer, prompts, most):
        if len(prompts[0][-1]["content"]) > 100:
            raise PromptTooLong(9000, 2048)
        return [SimpleNamespace(shown="yes")]

    monkeypatch.setattr(first_look, "generate_replies", generate_replies)
    monkeypatch.setattr(first_look, "is_interactive", lambda: True)
    box = first_look.MessageBox("Lunch", {"role": "system", "content": "Answer."}, None)
    _hint, text, told, _shown = box.answers({"before": "base"}).widget.children
    with pytest.raises(PromptTooLong):
        text.value = "x" * 200
    assert "9,000 tokens" in told.value and box.message == "Lunch"
    text.value = "Tea"
    assert told.value == ""


def test_a_vote_or_a_guess_that_cannot_be_kept_is_asked_again(tmp_path, monkeypatch):
    run = RunDir(tmp_path)
    run.votes.mkdir(parents=True)  # nothing can be written there
    asked = [{"role": "user", "content": "?"}]
    pairs = [{"key": "a", "messages": asked, "models": ["base", "adapter"], "A": "one", "B": "two"}]
    page, buttons, told = voting.voting_widget(run, pairs).children
    buttons.children[0].click()
    assert "IsADirectoryError" in told.value and "1 of 1" in page.value and not buttons.children[0].disabled

    (run.labs / guess.FILE).mkdir(parents=True)
    monkeypatch.setattr(guess, "is_interactive", lambda: True)
    _question, answers, told = guess.guess("04", run).widget.children
    answers.children[0].click()
    assert "Error" in told.value and not answers.children[0].disabled
