"""The callbacks of a training that can be trusted, in the order in which they must act, and what saves and stops."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from helpers.model.device import first_decides
from helpers.model.requantised import requantise
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.words import _
from helpers.train.best import KeepBest, aware_from
from helpers.train.chart import LiveChart, SampleReplies
from helpers.train.checkpoints import checkpoints, is_copy, mark_complete, step_of
from helpers.train.curve import best_step
from helpers.train.guards import DiskGuard, FreshStart, LossGuard, SameRows
from helpers.train.metrics import MetricsLog


def callbacks(run: RunDir, config: RunConfig) -> list[TrainerCallback]:
    """The callbacks of a run: a stop is decided before the guards look at the save."""
    best = config.keep == "best"
    return [
        *_begin(run, config),
        *([MergeAware(config)] if config.merge_aware else []),
        LossGuard(),
        KeepBest(config),  # at an evaluation, before the guard looks whether the save fits
        DiskGuard(run.trainer, config.save_total_limit + best),
        MetricsLog(run.metrics),  # before the keeper: a complete last checkpoint means complete metrics
        CheckpointKeeper(config.save_total_limit, best),
        LiveChart(run.metrics),
        SampleReplies(run, config),
    ]


def dpo_callbacks(run: RunDir, config: RunConfig) -> list[TrainerCallback]:
    """Those that a training on preferences has: its last checkpoint is used, its replies are looked at afterwards."""
    guards = [LossGuard(labels=False), DiskGuard(run.trainer, config.save_total_limit)]
    return [*_begin(run, config), *guards, CheckpointKeeper(config.save_total_limit)]


def _begin(run: RunDir, config: RunConfig) -> list[TrainerCallback]:
    run.trainer.mkdir(parents=True, exist_ok=True)
    return [FreshStart(), SameRows(run.trainer), StopOnRequest(run), SaveByTime(config.save_minutes)]


class CheckpointKeeper(TrainerCallback):
    """Marks a new checkpoint as complete, and only then deletes old ones beyond the newest `keep` and the `best`.

    `SFTConfig` gets no save_total_limit: with it the Trainer deletes before the new one is known to be complete.
    """

    def __init__(self, keep: int, best: bool = False):
        self.keep, self.best = keep, best

    def on_save(self, args: Any, state, control, **kwargs):
        processes = PartialState()
        processes.wait_for_everyone()  # every process has written its own random state
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir)
        rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * processes.num_processes
        mark_complete(folder / f"checkpoint-{state.global_step}", rows)
        own = [path for path in checkpoints(folder) if not (is_copy(path) or path.is_symlink())]
        # a newer one can only be a broken one that was skipped when this run resumed
        kept = [path for path in own if step_of(path) <= state.global_step][: self.keep]
        if self.best:
            kept.append(folder / f"checkpoint-{best_step(state.log_history)}")
        for old in set(own) - set(kept):
            shutil.rmtree(old)


class StopOnRequest(TrainerCallback):
    """Ends training after the current step, with a checkpoint, when the file trainer/stop.request appears.

    The first process looks for it and tells the others: else some might stop one step before the rest.
    """

    def __init__(self, run: RunDir):
        self.request, self.stopped = run.stop_request, run.stopped

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.stopped.unlink(missing_ok=True)
            if self.request.exists() and self.request.read_text() != str(os.getpid()):
                self.request.unlink()  # meant for an earlier sitting

    def on_step_end(self, args, state, control, **kwargs):
        if first_decides(state.is_world_process_zero and self.request.exists()):
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args, state, control, **kwargs):
        if state.is_world_process_zero and self.request.exists():
            self.request.rename(self.stopped)  # the checkpoint is complete by now


class SaveByTime(TrainerCallback):
    """Saves when `minutes` have passed since the last checkpoint, however slow a step is."""

    def __init__(self, minutes: float):
        self.seconds = 60 * minutes

    def on_train_begin(self, args, state, control, **kwargs):
        self.saved = time.monotonic()

    on_save = on_train_begin

    def on_step_end(self, args, state, control, **kwargs):
        if first_decides(time.monotonic() - self.saved >= self.seconds):
            control.should_save = True


class MergeAware(TrainerCallback):
    """From a step on, the forward pass is that of the merge in 4 bits (helpers/model/requantised.py).

    It begins at its step also after a resume: what is computed follows from the step alone. Held-out losses of before
    are of another model, so in the state they get another name: none of them is the best.
    """

    def __init__(self, config: RunConfig):
        self.config = config

    def on_step_begin(self, args, state, control, model: Any = None, **kwargs):
        first = aware_from(self.config, state.max_steps)
        requantise(model, state.global_step >= first)  # after an interruption it may go on from an earlier step
        if state.global_step < first:
            return
        if state.global_step == first and state.is_world_process_zero:
            print(_("Step {step}: from here on the merge in 4 bits is trained (merge_aware).").format(step=first + 1))
        for row in state.log_history:
            if "eval_loss" in row and 0 < row["step"] <= first:
                row["eval_loss_before_merge_aware"] = row.pop("eval_loss")


def keep_curves_with_the_run(run: RunDir, config: RunConfig) -> None:
    """W&B and trackio write into the run directory; W&B without a key writes an offline file and asks nobody."""
    os.environ.setdefault("WANDB_DIR", str(run.path))
    os.environ.setdefault("TRACKIO_DIR", str(run.path / "trackio"))
    if config.report_to == "wandb" and not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")
