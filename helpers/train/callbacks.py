"""The callbacks of a training that can be trusted, in the order in which they must act."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.train.best import KeepBest
from helpers.train.chart import LiveChart, SampleReplies
from helpers.train.guards import DiskGuard, FreshStart, LossGuard, SameRows
from helpers.train.merge_aware import MergeAware
from helpers.train.metrics import MetricsLog
from helpers.train.saving import CheckpointKeeper, SaveByTime, StopOnRequest

if TYPE_CHECKING:
    from transformers import TrainerCallback


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


def keep_curves_with_the_run(run: RunDir, config: RunConfig) -> None:
    """W&B and trackio write into the run directory; W&B without a key writes an offline file and asks nobody."""
    os.environ.setdefault("WANDB_DIR", str(run.path))
    os.environ.setdefault("TRACKIO_DIR", str(run.path / "trackio"))
    if config.report_to == "wandb" and not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")
