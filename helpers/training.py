"""Callbacks for a training that can be trusted: metrics on disk, whole checkpoints, and a stop with a reason.

Each is a plain `TrainerCallback`; `callbacks` lists the ones of a run in the order in which they must act.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import time
from pathlib import Path

import torch
from transformers import TrainerCallback

from helpers.checkpoints import checkpoints, mark_complete, step_of
from helpers.config import RunConfig
from helpers.live_view import LiveChart, SampleReplies
from helpers.report import human_bytes, human_time
from helpers.runs import RunDir, read_jsonl, write_atomic

NOTED = ("loss", "eval_loss", "learning_rate", "grad_norm", "epoch")


class MetricsLog(TrainerCallback):
    """Appends one row per log to metrics.jsonl and flushes it; a resumed run drops the rows after its checkpoint.

    A row holds step, elapsed_s (over all sittings, evaluations and saves too), and loss, learning_rate, grad_norm and
    tokens_per_second of the steps alone (question and answer, no padding), or eval_loss (nats per labelled token).
    The last row of a finished run holds the facts: tokens, peak_memory_bytes, device.
    """

    def __init__(self, path: Path):
        self.path = path

    def on_train_begin(self, args, state, control, **kwargs):
        rows = read_jsonl(self.path) if self.path.exists() else []
        rows = [row for row in rows if row["step"] <= state.global_step] if state.global_step else []
        if state.is_world_process_zero:
            write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in rows))
        self.elapsed = rows[-1]["elapsed_s"] if rows else 0.0
        self.clock = time.perf_counter()
        self.tokens, self.busy = state.num_input_tokens_seen, 0.0  # since the last log of a training loss

    def on_step_begin(self, args, state, control, **kwargs):
        self.step_began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.busy += time.perf_counter() - self.step_began  # without evaluations and saves

    def on_log(self, args, state, control, logs=None, **kwargs):
        row = {
            "step": state.global_step,
            "max_steps": state.max_steps,
            **{name: logs[name] for name in NOTED if name in logs},
        }
        if "loss" in logs:
            row["tokens_per_second"] = round((state.num_input_tokens_seen - self.tokens) / self.busy, 1)
            self.tokens, self.busy = state.num_input_tokens_seen, 0.0
        if "loss" in logs or "eval_loss" in logs:
            self._append(row, state)

    def on_save(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            facts = {"tokens": state.num_input_tokens_seen, "peak_memory_bytes": peak_memory_bytes()}
            self._append({"step": state.global_step, **facts, "device": device_name()}, state)

    def _append(self, row: dict, state) -> None:
        now = time.perf_counter()
        self.elapsed, self.clock = self.elapsed + now - self.clock, now
        if state.is_world_process_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**row, "elapsed_s": round(self.elapsed, 2)}) + "\n")


class LossGuard(TrainerCallback):
    """Stops when the loss or its gradient is not a number, or the loss is exactly 0, before such weights are saved."""

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save:
            control.should_log = True  # the log comes before the save, so a bad step is never saved

    def on_log(self, args, state, control, logs=None, **kwargs):
        for name in ("loss", "eval_loss", "grad_norm"):
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
    """Stops before a save that would not fit, so that the last checkpoint stays whole."""

    def __init__(self, folder: Path, keep: int):
        self.folder, self.keep = folder, keep

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.needed = checkpoint_bytes(model)
        # one more than is kept: the new one is written before the oldest is deleted
        self.check((self.keep + 1) * self.needed - _folder_bytes(self.folder), "training")

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save:
            self.check(self.needed, f"the checkpoint of step {state.global_step}")

    def check(self, needed: int, purpose: str) -> None:
        """Raises OSError when less than `needed` bytes are free."""
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            kept = ", ".join(path.name for path in checkpoints(self.folder)) or "none"
            raise OSError(
                f"The disk is full: {purpose} needs {human_bytes(needed)}, {human_bytes(free)} are free at {self.folder}. "
                f"Checkpoints there: {kept}. Make room, then run the training cell again: it goes on from the last one."
            )


class CheckpointKeeper(TrainerCallback):
    """Marks a new checkpoint as whole, and only then deletes the old ones beyond the newest `keep`.

    This is why `SFTConfig` gets no save_total_limit: the Trainer's own deletes before it knows that the new one is whole.
    """

    def __init__(self, keep: int):
        self.keep = keep

    def on_save(self, args, state, control, **kwargs):
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # every process has written its own random state
        if state.is_world_process_zero:
            folder = Path(args.output_dir)
            mark_complete(folder / f"checkpoint-{state.global_step}")
            # a newer one can only be a broken one that was skipped when this run went on
            kept = [path for path in checkpoints(folder) if step_of(path) <= state.global_step][: self.keep]
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
        self.used = True


class StopOnRequest(TrainerCallback):
    """Ends training after the current step, with a checkpoint, when the file trainer/stop.request appears."""

    def __init__(self, run: RunDir):
        self.request = run.trainer / "stop.request"

    def on_train_begin(self, args, state, control, **kwargs):
        self.request.unlink(missing_ok=True)  # a request from an earlier sitting

    def on_step_end(self, args, state, control, **kwargs):
        if self.request.exists():
            control.should_save = control.should_training_stop = True


def callbacks(run: RunDir, config: RunConfig) -> list[TrainerCallback]:
    """The callbacks of a run, in the order in which they act: a stop is decided before the guards look at the save."""
    run.trainer.mkdir(parents=True, exist_ok=True)
    return [
        FreshStart(),
        StopOnRequest(run),
        LossGuard(),
        DiskGuard(run.trainer, config.save_total_limit),
        MetricsLog(run.metrics),  # before the keeper: a whole last checkpoint means whole metrics
        CheckpointKeeper(config.save_total_limit),
        LiveChart(run.metrics),
        SampleReplies(run, config),
    ]


def keep_curves_with_the_run(run: RunDir, config: RunConfig) -> None:
    """W&B and trackio write into the run directory; W&B without a key writes an offline file and asks nobody."""
    os.environ.setdefault("WANDB_DIR", str(run.path))
    os.environ.setdefault("TRACKIO_DIR", str(run.path / "trackio"))
    if config.report_to == "wandb" and not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")


def checkpoint_bytes(model) -> int:
    """About what one checkpoint takes: trained weights, two 32-bit optimizer states each, and 20 MB for the tokenizer."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return sum(parameter.numel() * (parameter.element_size() + 8) for parameter in trained) + 20_000_000


def peak_memory_bytes() -> int:
    """The most memory used so far: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()  # not run on a GPU yet
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name() -> str:
    """What the training runs on, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()  # not run on a GPU yet
    return f"CPU, {torch.get_num_threads()} threads"


def training_facts(rows: list[dict]) -> list[dict]:
    """What the finished training was, from the rows of metrics.jsonl, as rows of a table."""
    facts, held_out = rows[-1], [row["eval_loss"] for row in rows if "eval_loss" in row]
    return [
        {"fact": "steps", "value": facts["step"]},
        {"fact": "held-out loss, first and last", "value": f"{held_out[0]:.3f} -> {held_out[-1]:.3f}"},
        {"fact": "training time", "value": human_time(facts["elapsed_s"])},
        {"fact": "speed", "value": f"{facts['tokens'] / facts['elapsed_s']:,.0f} tokens/s"},
        {"fact": "peak memory", "value": human_bytes(facts["peak_memory_bytes"])},
        {"fact": "device", "value": facts["device"]},
    ]


def require_finished(trainer) -> None:
    """Raises RuntimeError when `trainer` was stopped before its last step."""
    if trainer.state.global_step < trainer.state.max_steps:
        raise RuntimeError(
            f"Training was stopped at step {trainer.state.global_step} of {trainer.state.max_steps}: "
            "run this cell again, it goes on from the checkpoint."
        )


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
