"""What a training measures about itself, on the disk from the first step on: metrics.jsonl."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import torch
from transformers import TrainerCallback

from helpers.files import read_jsonl, write_jsonl
from helpers.runs.paid import paid_seconds
from helpers.show.units import human_bytes, human_time
from helpers.show.words import _

NOTED = ("loss", "eval_loss", "learning_rate", "grad_norm", "epoch")


class MetricsLog(TrainerCallback):
    """Appends one row per log to metrics.jsonl and flushes it; a resumed run drops the rows after its checkpoint.

    A row holds step, sitting (the start that it belongs to: 2 after the first resume), elapsed_s (over all sittings,
    evaluations and saves too), lost_s (of steps that a kill took back: they were paid for), cards (GPUs here), and
    loss, learning_rate, grad_norm and tokens_per_second of the steps alone (no padding), or eval_loss (nats per
    labelled token). The last row of a finished run holds tokens, peak_memory_bytes and device.
    """

    def __init__(self, path: Path):
        self.path = path

    def on_train_begin(self, args, state, control, **kwargs):
        before = read_jsonl(self.path) if self.path.exists() else []
        rows = [row for row in before if state.global_step and row["step"] <= state.global_step]
        if state.is_world_process_zero:
            write_jsonl(self.path, rows)
        last, end = rows[-1] if rows else {}, before[-1] if before else {}
        self.elapsed = last.get("elapsed_s", 0.0)
        finished = "device" in end and not state.global_step  # another training, which this one begins anew
        self.lost = 0.0 if finished else paid_seconds(end) - self.elapsed
        self.sitting = last.get("sitting", 1) + 1 if state.global_step else 1
        self.clock = time.perf_counter()
        self.tokens, self.busy = state.num_input_tokens_seen, 0.0  # since the last log of a training loss

    def on_step_begin(self, args, state, control, **kwargs):
        self.step_began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.busy += time.perf_counter() - self.step_began  # without evaluations and saves

    def on_log(self, args, state, control, logs, **kwargs):
        row = {name: logs[name] for name in NOTED if name in logs}
        if "loss" in logs:
            row["tokens_per_second"] = round((state.num_input_tokens_seen - self.tokens) / self.busy, 1)
            self.tokens, self.busy = state.num_input_tokens_seen, 0.0
        if "loss" in logs or "eval_loss" in logs:
            self._append({"step": state.global_step, "max_steps": state.max_steps, **row}, state)

    def on_save(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            facts = {"tokens": state.num_input_tokens_seen, "peak_memory_bytes": peak_memory_bytes()}
            self._append({"step": state.global_step, **facts, "device": device_name()}, state)

    def _append(self, row: dict, state) -> None:
        now = time.perf_counter()
        self.elapsed, self.clock = self.elapsed + now - self.clock, now
        row |= {"sitting": self.sitting, "elapsed_s": round(self.elapsed, 2), "lost_s": round(self.lost, 2)}
        if state.is_world_process_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row | {"cards": torch.cuda.device_count()}) + "\n")


def peak_memory_bytes() -> int:
    """The most memory used so far: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name() -> str:
    """What the training runs on, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return _("CPU, {count} threads").format(count=torch.get_num_threads())


def training_facts(rows: list[dict]) -> list[dict]:
    """What the training was (or is so far), from the rows of metrics.jsonl, as rows of a table."""
    last, held_out = rows[-1] if rows else {}, [row["eval_loss"] for row in rows if "eval_loss" in row]
    facts = {_("steps"): last.get("step", 0)}
    if held_out:
        facts[_("held-out loss, first and last")] = f"{held_out[0]:.3f} -> {held_out[-1]:.3f}"
    facts[_("training time")] = human_time(paid_seconds(last))
    if "tokens" in last:  # the row that a finished training ends with
        facts[_("speed")] = _("{tokens:,.0f} tokens/s").format(tokens=last["tokens"] / last["elapsed_s"])
        facts |= {_("peak memory"): human_bytes(last["peak_memory_bytes"]), _("device"): last["device"]}
    return [{"fact": name, "value": value} for name, value in facts.items()]
