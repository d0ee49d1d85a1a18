"""The live chart of a training: there from the first moment, in one place, and instead of the trainer's own table."""

from types import SimpleNamespace

import IPython
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

from helpers.files import write_jsonl
from helpers.runs import RunDir
from helpers.train import trainer as trainer_module
from helpers.train.chart import LiveChart, training_chart
from tests.small_training import build


def test_the_chart_stands_from_the_first_moment_and_is_redrawn_in_its_place(tmp_path, monkeypatch):
    shown, handle = [], SimpleNamespace(update=lambda output: shown.append(output.alt))
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    monkeypatch.setattr(IPython.display, "display", lambda output, display_id: shown.append(output.alt) or handle)
    chart = LiveChart(tmp_path / "metrics.jsonl")
    state = SimpleNamespace(global_step=0, max_steps=20, is_world_process_zero=True)
    chart.on_train_begin(None, state, None)
    write_jsonl(chart.metrics, [{"step": 2, "loss": 1.5}])
    state.global_step = 2
    chart.on_log(None, state, None, logs={"loss": 1.5})
    chart.on_log(None, state, None, logs={"train_runtime": 1.0})
    assert (
        len(shown) == 2 and shown[0] == "step 0 of 20" and "step 2 of 20" in shown[1] and "1.50 at step 2" in shown[1]
    )


def test_only_what_was_measured_is_in_the_legend_and_a_step_is_whole():
    losses = training_chart([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]).figure.axes[0]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["training"]
    assert all(tick == int(tick) for tick in losses.get_xticks())


def test_in_a_notebook_the_chart_takes_the_place_of_the_trainers_own_table(tmp_path, monkeypatch):
    def bars(notebook: bool) -> bool:
        monkeypatch.setattr(trainer_module, "in_notebook", lambda: notebook)
        trainer = build(RunDir(tmp_path), disable_tqdm=False)
        return any(isinstance(one, DEFAULT_PROGRESS_CALLBACK) for one in trainer.callback_handler.callbacks)

    assert bars(notebook=False) and not bars(notebook=True)
