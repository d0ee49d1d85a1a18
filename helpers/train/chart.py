"""The live chart of a training: a static picture, redrawn at each log, that still stands after the page is reloaded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from helpers.evaluate.comparison import sample_strip
from helpers.files import read_jsonl, write_jsonl
from helpers.model.device import sharded
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.pictures import Picture, chart
from helpers.show.tables import BLUE, GREY, ORANGE
from helpers.show.units import human_time
from helpers.show.words import _


def training_chart(rows: list[dict], title: str = "") -> Picture:
    """Train loss, held-out loss and learning rate over the optimizer steps."""
    figure, (loss, rate) = chart(8, 3.2, columns=2, width_ratios=(3, 1))
    loss.plot(*_curve(rows, "loss"), label=_("training"), color=BLUE, linewidth=1.5)
    if any("eval_loss" in row for row in rows):
        loss.plot(*_curve(rows, "eval_loss"), label=_("held out"), color=ORANGE, marker="o", markersize=4)
    rate.plot(*_curve(rows, "learning_rate"), color=GREY)
    loss.set(xlabel=_("optimizer step"), ylabel=_("loss (nats per token)"), title=title)
    rate.set(xlabel=_("optimizer step"), title=_("learning rate"))
    for axes in (loss, rate):
        axes.xaxis.get_major_locator().set_params(integer=True)  # there is no step 2.5
    rate.ticklabel_format(axis="y", scilimits=(0, 0))
    loss.legend(frameon=False)
    return Picture(figure, _in_words(rows, title))


def _curve(rows: list[dict], name: str) -> tuple[list, list]:
    """Steps and values of the rows that have `name`."""
    points = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, value in points], [value for step, value in points]


def _in_words(rows: list[dict], title: str) -> str:
    """The chart in words: where each curve begins and ends."""
    parts = [title]
    training = _("training loss {begin:.2f} at step {first}, {end:.2f} at step {last}")
    held_out = _("held-out loss {begin:.2f} at step {first}, {end:.2f} at step {last}")
    for name, sentence in (("loss", training), ("eval_loss", held_out)):
        steps, values = _curve(rows, name)
        if steps:
            parts.append(sentence.format(begin=values[0], first=steps[0], end=values[-1], last=steps[-1]))
    return "; ".join(filter(None, parts)) or _("no loss yet")


class LiveChart(TrainerCallback):
    """Redraws the chart of metrics.jsonl below the training cell at each log, and says how long it will still take."""

    def __init__(self, metrics: Path):
        self.metrics, self.display = metrics, None

    def on_train_begin(self, args, state, control, **kwargs):
        self.display = None
        self.first_step, self.start = state.global_step, time.perf_counter()
        self._show(state, _("step {step} of {last}").format(step=state.global_step, last=state.max_steps))

    def on_log(self, args, state, control, logs: Any = None, **kwargs):
        if "loss" not in logs and "eval_loss" not in logs:
            return
        taken = max(state.global_step - self.first_step, 1)
        left = (time.perf_counter() - self.start) / taken * (state.max_steps - state.global_step)
        title = _("step {step} of {last}, {time} left")
        title = title.format(step=state.global_step, last=state.max_steps, time=human_time(left))
        self._show(state, title)

    def _show(self, state, title: str) -> None:
        from IPython import get_ipython

        if get_ipython() is not None and state.is_world_process_zero:
            rows = read_jsonl(self.metrics) if self.metrics.exists() else []
            self.display = _shown(training_chart(rows, title), self.display)


def _shown(output: Any, handle: Any) -> Any:
    """Show `output`, in the place of the one before where there is a `handle`; the handle for the next one."""
    from IPython.display import display

    if handle is None:
        return display(output, display_id=True)
    handle.update(output)
    return handle


GLANCE = 24  # tokens of a sample reply at most: on a CPU each costs as much as a good part of a step


class SampleReplies(TrainerCallback):
    """What the model writes to the first held-out question, every `config.sample_steps` steps: a strip below the curve,
    kept in samples.jsonl; not under FSDP, where one process has no whole layer: it would wait for the others for
    ever."""

    def __init__(self, run: RunDir, config: RunConfig):
        self.run, self.config = run, config

    def on_train_begin(self, args, state, control, model: Any = None, processing_class: Any = None, **kwargs):
        before = read_jsonl(self.run.samples) if self.run.samples.exists() else []
        self.display = None
        self.rows = [row for row in before if state.global_step and row["step"] <= state.global_step]
        if not state.global_step and self._wanted(state):
            self._ask(0, model, processing_class)  # the base, or where the training starts from; shown with the next

    def on_step_end(self, args, state, control, model: Any = None, processing_class: Any = None, **kwargs):
        if self._wanted(state) and state.global_step % self.config.sample_steps == 0:
            self._ask(state.global_step, model, processing_class)
            self._show()

    def _wanted(self, state) -> bool:
        return bool(self.config.sample_steps) and state.is_world_process_zero and not sharded()

    def _ask(self, step: int, model: Any, tokenizer: Any) -> None:
        from helpers.evaluate.generation import generate_replies, prompts_and_references

        prompts, _answers = prompts_and_references(read_jsonl(self.run.eval_jsonl), count=1)
        most = min(self.config.max_new_tokens, GLANCE)
        for reply in generate_replies(model.eval(), tokenizer, prompts, most) if prompts else []:
            self.rows.append({"step": step, "question": reply.question, "reply": reply.shown})
        model.train()
        write_jsonl(self.run.samples, self.rows)

    def _show(self) -> None:
        from IPython import get_ipython

        if get_ipython() is None:
            sentence = _("step {step}: {question!r} -> {reply!r}")
            print("".join(sentence.format(**row) for row in self.rows[-1:]), flush=True)
        else:
            self.display = _shown(sample_strip(self.run), self.display)
