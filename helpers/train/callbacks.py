"""Callbacks for a training that can be trusted: metrics on disk, complete checkpoints, and a stop with a reason.

Each is a plain `TrainerCallback`; `callbacks` lists the ones of a run in the order in which they must act.
"""

from __future__ import annotations

import os

from transformers import TrainerCallback

from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.best import KeepBest
from helpers.train.chart import LiveChart, SampleReplies
from helpers.train.guards import CheckpointKeeper, DiskGuard, FreshStart, LossGuard, SaveByTime, StopOnRequest
from helpers.train.metrics import MetricsLog


def callbacks(run: RunDir, config: RunConfig) -> list[TrainerCallback]:
    """The callbacks of a run, in the order in which they act: a stop is decided before the guards look at the save."""
    run.trainer.mkdir(parents=True, exist_ok=True)
    return [
        FreshStart(),
        StopOnRequest(run),
        SaveByTime(config.save_minutes),
        LossGuard(),
        KeepBest(config),  # at an evaluation, before the guard looks whether the save fits
        DiskGuard(run.trainer, config.save_total_limit + (config.keep == "best")),
        MetricsLog(run.metrics),  # before the keeper: a complete last checkpoint means complete metrics
        CheckpointKeeper(config.save_total_limit, config.keep == "best"),
        LiveChart(run.metrics),
        SampleReplies(run, config),
    ]


def keep_curves_with_the_run(run: RunDir, config: RunConfig) -> None:
    """W&B and trackio write into the run directory; W&B without a key writes an offline file and asks nobody."""
    os.environ.setdefault("WANDB_DIR", str(run.path))
    os.environ.setdefault("TRACKIO_DIR", str(run.path / "trackio"))
    if config.report_to == "wandb" and not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")


def require_finished(trainer) -> None:
    """Raises RuntimeError when `trainer` was stopped before its last step."""
    if trainer.state.global_step < trainer.state.max_steps:
        raise RuntimeError(
            f"Training was stopped at step {trainer.state.global_step} of {trainer.state.max_steps}: "
            "run this cell again, it resumes from the checkpoint."
        )
