"""What stops a training before it does harm, and what keeps its checkpoints complete: one `TrainerCallback` each."""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast
from transformers import TrainerCallback

from helpers.files import folder_bytes, free_bytes
from helpers.model.device import sharded
from helpers.runs import RunDir
from helpers.show.units import human_bytes
from helpers.train.best import best_step
from helpers.train.checkpoints import checkpoints, mark_complete, step_of

SKIPPED = 32  # fp16 steps in a row: the loss scale, halved by each, has fallen from 2^16 to 2^-16


class LossGuard(TrainerCallback):
    """Stops when the loss or its gradient is not a number, or the loss is exactly 0, before such weights are saved.

    Under fp16 a gradient that overflows is no fault: its step is skipped and the loss scale halved. `SKIPPED` such steps in
    a row are one, because nothing is learned any more. A warm-up that is longer than the training is told.
    """

    def on_train_begin(self, args, state, control, **kwargs):
        self.skipped, rising = 0, args.get_warmup_steps(state.max_steps)
        if rising >= state.max_steps > 1:
            print(
                f"The learning rate rises for {rising} steps (warmup_steps={args.warmup_steps:g}) and the training has "
                f"{state.max_steps}: it ends before it reaches learning_rate={args.learning_rate:g}. Lower warmup_steps."
            )

    def on_step_end(self, args, state, control, optimizer=None, **kwargs):
        if control.should_save:
            control.should_log = True  # the log comes before the save, so a bad step is never saved
        self.skipped = self.skipped + 1 if getattr(optimizer, "step_was_skipped", False) else 0
        if self.skipped >= SKIPPED:
            raise FloatingPointError(
                f"{SKIPPED} steps in a row were skipped up to step {state.global_step}, because their gradients overflow "
                "float16 at any loss scale: nothing is learned. Set compute_dtype='float32' in a new run, or take a card "
                "with bfloat16 (compute capability 8.0)."
            )

    def on_log(self, args, state, control, logs=None, **kwargs):
        for name in ("loss", "eval_loss") if args.fp16 else ("loss", "eval_loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise FloatingPointError(
                    f"{name} is {logs[name]} at step {state.global_step}: training has broken down. Lower learning_rate "
                    f"(now {args.learning_rate:g}) in a new run; the checkpoints before this step are sound."
                )
        if logs.get("loss") == 0.0:
            raise ValueError(
                f"loss is exactly 0 at step {state.global_step}: no token has a label. "
                "Look at the label X-ray in 03_data_preview.ipynb."
            )


class DiskGuard(TrainerCallback):
    """Stops before a save that would not fit, so that the last checkpoint stays complete.

    On a network volume free space is unknown: there a quota that is used up is told by the save itself (failures.py).
    """

    def __init__(self, folder: Path, keep: int):
        self.folder, self.keep = folder, keep

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.needed = checkpoint_bytes(model)
        # one more than is kept: the new one is written before the oldest is deleted
        self.check((self.keep + 1) * self.needed - folder_bytes(self.folder), "training")

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save:
            self.check(self.needed, f"the checkpoint of step {state.global_step}")

    on_evaluate = on_step_end  # the best so far is saved after its evaluation

    def check(self, needed: int, purpose: str) -> None:
        """Raises OSError when less than `needed` bytes are free."""
        free = free_bytes(self.folder)
        if free is not None and free < needed:
            kept = ", ".join(path.name for path in checkpoints(self.folder)) or "none"
            raise OSError(
                f"The disk is full: {purpose} needs {human_bytes(needed)}, {human_bytes(free)} are free at {self.folder}. "
                f"Checkpoints there: {kept}. Make room, then run the training cell again: it resumes from the last one."
            )


class CheckpointKeeper(TrainerCallback):
    """Marks a new checkpoint as complete, and only then deletes the old ones beyond the newest `keep`, and the `best` one.

    This is why `SFTConfig` gets no save_total_limit: the Trainer's own deletes before it knows that the new one is complete.
    """

    def __init__(self, keep: int, best: bool = False):
        self.keep, self.best = keep, best

    def on_save(self, args, state, control, **kwargs):
        processes = PartialState()
        processes.wait_for_everyone()  # every process has written its own random state
        if state.is_world_process_zero:
            folder = Path(args.output_dir)
            rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * processes.num_processes
            mark_complete(folder / f"checkpoint-{state.global_step}", rows)
            # a newer one can only be a broken one that was skipped when this run resumed
            kept = [path for path in checkpoints(folder) if step_of(path) <= state.global_step][: self.keep]
            if self.best:
                kept.append(folder / f"checkpoint-{best_step(state.log_history)}")
            for old in set(checkpoints(folder)) - set(kept):
                shutil.rmtree(old)


class FreshStart(TrainerCallback):
    """Refuses to start at step 0 with an adapter that has already been trained here, after an interrupted sitting."""

    used = False

    def on_train_begin(self, args, state, control, **kwargs):
        if self.used and state.global_step == 0:
            raise RuntimeError(
                "Training was interrupted before its first checkpoint, so this adapter is no longer fresh: "
                "run the cell that loads the model again, then this one."
            )

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.used = True  # not before: a guard that stops at the start has changed nothing


class StopOnRequest(TrainerCallback):
    """Ends training after the current step, with a checkpoint, when the file trainer/stop.request appears.

    The first process looks for it and tells the others: each looking for itself, some might stop one step before the rest.
    """

    def __init__(self, run: RunDir):
        self.request, self.done = run.stop_request, run.stopped

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.done.unlink(missing_ok=True)
            if self.request.exists() and self.request.read_text() != str(os.getpid()):
                self.request.unlink()  # meant for an earlier sitting

    def on_step_end(self, args, state, control, **kwargs):
        if first_decides(state.is_world_process_zero and self.request.exists()):
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args, state, control, **kwargs):
        if state.is_world_process_zero and self.request.exists():
            self.request.rename(self.done)  # the checkpoint is complete by now


class SaveByTime(TrainerCallback):
    """Saves when `minutes` have passed since the last checkpoint, however slow a step is: a killed pod loses no more."""

    def __init__(self, minutes: float):
        self.seconds = 60 * minutes

    def on_train_begin(self, args, state, control, **kwargs):
        self.saved = time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        if first_decides(time.monotonic() - self.saved >= self.seconds):
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        self.saved = time.monotonic()


def first_decides(decision: bool) -> bool:
    """`decision` as the first process sees it, in every process; they must all ask, at the same step."""
    processes = PartialState()
    if processes.num_processes == 1:
        return decision
    told = torch.tensor([float(decision)], device=processes.device)
    return bool(broadcast(told, from_process=0).item())


def checkpoint_bytes(model) -> int:
    """About what one checkpoint takes: trained weights (FSDP writes them twice), two 32-bit states each, 20 MB of tokenizer."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return (
        sum(parameter.numel() * (parameter.element_size() * (1 + sharded()) + 8) for parameter in trained) + 20_000_000
    )
