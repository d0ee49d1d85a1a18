"""When a checkpoint is written, when it counts, and which ones stay: a `TrainerCallback` each."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from helpers.model.device import first_decides
from helpers.runs import RunDir
from helpers.train.checkpoints import checkpoints, is_copy, mark_complete, step_of
from helpers.train.curve import best_step


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

    def on_step_end(self, args, state, control, **kwargs):
        if first_decides(time.monotonic() - self.saved >= self.seconds):
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        self.saved = time.monotonic()
