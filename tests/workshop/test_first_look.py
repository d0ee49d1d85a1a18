"""The message box of the first look: a reader types, the models answer; without widgets it is a table."""

from types import SimpleNamespace

import pytest

from helpers.workshop import first_look
from helpers.workshop.first_look import EXAMPLES, HELD_OUT, MessageBox, leaving_nothing, short_config, short_rows

ORDER = {"role": "system", "content": "Answer."}


@pytest.fixture
def asked(monkeypatch):
    """What the models were asked; a model is its name here, and says it back with the message."""
    seen = []

    def generate_replies(model, tokenizer, prompts, most):
        seen.append((model, prompts[0][-1]["content"]))
        return [SimpleNamespace(shown=f"{model}: {prompts[0][-1]['content']}")]

    monkeypatch.setattr(first_look, "generate_replies", generate_replies)
    return seen


def test_without_widgets_the_default_message_is_answered_in_two_columns(asked):
    box = MessageBox("Lunch", ORDER, None)
    assert "base: Lunch" in repr(box.answers({"before": "base"}))
    table = box.answers({"before": "base", "after": "tuned"})
    assert table.rows == [{"your message": "Lunch", "before": "base: Lunch", "after": "tuned: Lunch"}]
    assert asked == [("base", "Lunch"), ("tuned", "Lunch")], "the base was asked twice"
    box.answers({"before": "base", "after": "tuned again"})
    assert box.replies["after"] == "tuned again: Lunch", "the adapter of an earlier training answers"


def test_what_a_reader_types_is_answered_and_kept_for_the_next_cell(asked, monkeypatch):
    monkeypatch.setattr(first_look, "is_interactive", lambda: True)
    box = MessageBox("Lunch", ORDER, None)
    page = box.answers({"before": "base"})
    _hint, text, _told, shown = page.widget.children
    text.value = "<b>Tea</b> at nine"
    assert box.message == "<b>Tea</b> at nine" and "base: &lt;b&gt;Tea" in shown.value and "<b>Tea" not in shown.value
    assert box.answers({"after": "tuned"}).widget.children[1].value == box.message
    text.value = "   "
    assert box.message == "<b>Tea</b> at nine" and len(asked) == 3


def test_the_short_training_has_its_own_rows_and_leaves_no_folder(monkeypatch):
    config = short_config("llama2-7b", learning_rate=1e-5)
    assert (config.preset, config.learning_rate, config.per_device_train_batch_size) == ("demo", 1e-5, 8)
    held_out, examples = short_rows(config)
    assert (len(held_out), len(examples)) == (HELD_OUT, EXAMPLES) and not any(row in examples for row in held_out)
    with leaving_nothing(config, 3) as (args, callbacks):
        assert args.max_steps == 3 and args.report_to == [] and len(callbacks) == 2
    from pathlib import Path

    assert not Path(args.output_dir).exists()


@pytest.mark.parametrize("data", ["my_data.csv", "owner/name", "a.csv,b.csv:2"])
def test_a_series_on_other_data_begins_with_the_first_look_s_own(monkeypatch, data):
    settings = {"dataset_id": data, "checks": "mine.py", "run_name": "second", "learning_rate": "1e-5"}
    own = short_config("demo")
    for name, value in settings.items():
        monkeypatch.setenv(f"QLORA_{name.upper()}", value)
    by_variables = short_config("llama2-7b", learning_rate=1e-4)
    assert list(by_variables.differences(own)) == ["learning_rate"] and by_variables.learning_rate == 1e-4
    assert short_config("demo").learning_rate == 1e-5, "a variable says nothing here"
    for name in settings:
        monkeypatch.delenv(f"QLORA_{name.upper()}")
    assert list(short_config("demo", **settings).differences(own)) == ["learning_rate"]
    assert short_rows(by_variables) == short_rows(own)
