"""merge_aware: from a step on, the forward pass is that of the merge in 4 bits (helpers/model/requantised.py)."""

from __future__ import annotations

import math
from typing import Any

from transformers import TrainerCallback

from helpers.model.requantised import requantise
from helpers.settings import RunConfig
from helpers.show.words import _


def aware_from(config: RunConfig, steps: int) -> int:
    """The number of steps that are trained before merge_aware begins, of `steps` in all; 0 without merge_aware."""
    return math.floor(config.merge_aware_from * steps) if config.merge_aware else 0


class MergeAware(TrainerCallback):
    """Begins it at its step, also after a resume: what is computed follows from the step alone.

    Held-out losses of before are of another model, so in the state they get another name: none of them is the best.
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
