"""What ends a training from outside, said in a sentence: ■, a disk that is full, a GPU that failed."""

from __future__ import annotations

import contextlib
import errno

import torch
from transformers import Trainer

from helpers.runs import RunDir
from helpers.show.words import N_, _
from helpers.train.checkpoints import complete_checkpoints, is_last


class Stopped(KeyboardInterrupt):
    """■ was pressed at `step`; the next start goes on from step `resumes`, 0: anew. A page shows the sentence only."""

    def __init__(self, step: int, resumes: int):
        sentence = _("Stopped at step {step}, before the first checkpoint. Load the model again, then run this cell.")
        if resumes:
            sentence = _("Stopped at step {step}. Run this cell again: it goes on from {checkpoint}.")
        super().__init__(sentence.format(step=step, checkpoint=f"checkpoint-{resumes}"))
        self.step, self.resumes = step, resumes

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of screens of red."""
        return [str(self)]


class NotFinished(RuntimeError):
    """The training of a run has not reached its last step."""


@contextlib.contextmanager
def failures_explained(run: RunDir, trainer: Trainer | None = None):
    """Put it round a training: what ended it from outside becomes a sentence with the next start's checkpoint.

    Stopped for ■, OSError for a full disk, RuntimeError for the GPU, IndexError for a number out of range there.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        resumes = max(complete_checkpoints(run.trainer), default=0)
        raise Stopped(trainer.state.global_step if trainer else resumes, resumes) from error
    except Exception as error:
        if explained := _explained(error, run):
            raise explained from error
        raise


def require_finished(trainer: Trainer) -> None:
    """Raises NotFinished when `trainer` was stopped before its last step."""
    if trainer.state.global_step < trainer.state.max_steps:
        note = _("Training was stopped at step {step} of {last}: run this cell again, it resumes from the checkpoint.")
        raise NotFinished(note.format(step=trainer.state.global_step, last=trainer.state.max_steps))


def require_trained(run: RunDir) -> None:
    """Raises NotFinished unless the last step of the run has a complete checkpoint: an adapter that 04 may save."""
    complete = complete_checkpoints(run.trainer)
    if not complete or not is_last(complete[max(complete)]):
        sentence = _("{run} has no complete last checkpoint: run the training cell again, to its end.")
        raise NotFinished(sentence.format(run=run.path.name))


def disk_full(error: BaseException) -> bool:
    """True when `error` is what Python, safetensors or torch.save raise for a write without space or quota."""
    # torch.save does not say why a write failed, only that the file is shorter than what it wrote
    signs = ("No space left", "quota exceeded", "Quota exceeded", "fail at inline_container")
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(text in str(error) for text in signs)


FAULTS: dict[type[Exception], str] = {
    OSError: N_(
        "The disk ran full while a file was written at {folder}: make room (on a network volume the quota is what "
        "you rented, whatever df says), then run the training cell again. It resumes from {checkpoint}, which is "
        "complete."
    ),
    IndexError: N_(
        "A kernel on the GPU was asked for something out of range ({cause}): most often a token id that the model "
        "has no embedding for, so the data or the tokenizer, not the pod. Restart the kernel and run 04 again with "
        "CUDA_LAUNCH_BLOCKING=1 to see the line. It resumes from {checkpoint}."
    ),
    RuntimeError: N_(
        "The GPU stopped answering ({cause}): see what nvidia-smi says, restart the kernel or move the volume to "
        "another pod, and run 04 again. It resumes from {checkpoint}."
    ),
}


def _explained(error: Exception, run: RunDir) -> Exception | None:
    """The error in words; None for one that is nobody's but its own."""
    cause, newest = str(error).partition("\n")[0], max(complete_checkpoints(run.trainer), default=None)
    kept = "step 0" if newest is None else f"checkpoint-{newest}"
    if disk_full(error):
        kind = OSError
    elif isinstance(error, torch.AcceleratorError):  # which is what the driver reports
        kind = IndexError if "device-side assert" in cause else RuntimeError
    else:
        return None
    return kind(_(FAULTS[kind]).format(folder=run.path, cause=cause, checkpoint=kept))
