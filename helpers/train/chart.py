"""The live chart of a training: a static picture, redrawn at each log, that still stands after the page is reloaded."""

from __future__ import annotations

import time
from pathlib import Path

from transformers import TrainerCallback

from helpers.files import read_jsonl
from helpers.model.device import sharded
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.pictures import Picture
from helpers.show.tables import BLUE, GREY, ORANGE
from helpers.show.units import human_time


def training_chart(rows: list[dict], title: str = "") -> Picture:
    """Train loss, held-out loss and learning rate over the optimizer steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    loss, rate = figure.subplots(1, 2, width_ratios=(3, 1))
    for name, label, style in (
        ("loss", "training", {"color": BLUE, "linewidth": 1.5}),
        ("eval_loss", "held out", {"color": ORANGE, "marker": "o", "markersize": 4}),
    ):
        points = [(row["step"], row[name]) for row in rows if name in row]
        loss.plot(*zip(*points, strict=True) if points else ([], []), label=label, **style)
    points = [(row["step"], row["learning_rate"]) for row in rows if "learning_rate" in row]
    rate.plot(*zip(*points, strict=True) if points else ([], []), color=GREY)
    loss.set(xlabel="optimizer step", ylabel="loss (nats per token)", title=title)
    rate.set(xlabel="optimizer step", title="learning rate")
    rate.ticklabel_format(axis="y", scilimits=(0, 0))
    loss.legend(frameon=False)
    for axes in (loss, rate):
        axes.spines[["top", "right"]].set_visible(False)
    return Picture(figure, _told(rows, title))


def _told(rows: list[dict], title: str) -> str:
    """The chart in words: where each curve begins and ends."""
    said = [title] if title else []
    for name, label in (("loss", "training loss"), ("eval_loss", "held-out loss")):
        if points := [(row["step"], row[name]) for row in rows if name in row]:
            (first, begin), (last, end) = points[0], points[-1]
            said.append(f"{label} {begin:.2f} at step {first}, {end:.2f} at step {last}")
    return "; ".join(said) or "no loss yet"


class LiveChart(TrainerCallback):
    """Redraws the chart of metrics.jsonl below the training cell at each log, and says how long it will still take."""

    def __init__(self, metrics: Path):
        self.metrics, self.display = metrics, None

    def on_train_begin(self, args, state, control, **kwargs):
        self.display = None
        self.first_step, self.start = state.global_step, time.perf_counter()

    def on_log(self, args, state, control, logs=None, **kwargs):
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is None or not state.is_world_process_zero or ("loss" not in logs and "eval_loss" not in logs):
            return
        chart = training_chart(read_jsonl(self.metrics), self._title(state))
        if self.display is None:
            self.display = display(chart, display_id=True)
        else:
            self.display.update(chart)

    def _title(self, state) -> str:
        done = max(state.global_step - self.first_step, 1)
        left = (time.perf_counter() - self.start) / done * (state.max_steps - state.global_step)
        return f"step {state.global_step} of {state.max_steps}, {human_time(left)} left"


class SampleReplies(TrainerCallback):
    """Prints what the model answers to the first held-out questions, every `config.sample_steps` steps; not under FSDP.

    There a single process has no whole layer: a reply on one would wait for the others for ever.
    """

    def __init__(self, run: RunDir, config: RunConfig):
        self.run, self.config = run, config

    def on_step_end(self, args, state, control, model=None, processing_class=None, **kwargs):
        every = self.config.sample_steps
        if not every or state.global_step % every or not state.is_world_process_zero or sharded():
            return
        from helpers.evaluate.generation import generate_replies, prompts_and_references

        prompts, _ = prompts_and_references(read_jsonl(self.run.eval_jsonl), count=2)
        replies = generate_replies(model.eval(), processing_class, prompts, self.config.max_new_tokens)
        model.train()
        for prompt, reply in zip(prompts, replies, strict=True):
            print(f"step {state.global_step}: {prompt[-1]['content']!r} -> {reply.shown!r}", flush=True)
