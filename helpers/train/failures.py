"""What ends a training from outside, said in a sentence: a disk that is full, a GPU that failed."""

from __future__ import annotations

import contextlib
import errno

import torch

from helpers.runs import RunDir
from helpers.train.checkpoints import checkpoints, fault


@contextlib.contextmanager
def failures_explained(run: RunDir):
    """Put it round a training: a disk that ran full inside a save, or a GPU that failed, becomes a sentence.

    It names what went wrong and the checkpoint that the next start resumes from. OSError for the disk, RuntimeError for
    the GPU, IndexError for a number that is out of range there; every other error passes as it is.
    """
    try:
        yield
    except Exception as error:
        kept = next((path.name for path in checkpoints(run.trainer) if fault(path) is None), "step 0")
        if isinstance(error, torch.AcceleratorError):  # what the driver reports
            told = str(error).splitlines()[0]
            if "device-side assert" in told:
                raise IndexError(
                    f"A kernel on the GPU was asked for something out of range ({told}): most often a token id that the model "
                    "has no embedding for, so the data or the tokenizer, not the pod. Restart the kernel and run 04 again "
                    f"with CUDA_LAUNCH_BLOCKING=1 to see the line. It resumes from {kept}."
                ) from error
            raise RuntimeError(
                f"The GPU stopped answering ({told}): see what nvidia-smi says, restart the kernel "
                f"or move the volume to another pod, and run 04 again. It resumes from {kept}."
            ) from error
        if disk_full(error):
            raise OSError(
                f"The disk ran full while a file was written at {run.path}: make room (on a network volume the quota is what "
                f"you rented, whatever df says), then run the training cell again. It resumes from {kept}, which is complete."
            ) from error
        raise


def disk_full(error: Exception) -> bool:
    """True when `error` is what Python, safetensors or torch.save raise for a write that found no space, or no quota."""
    # torch.save does not say why a write failed, only that the file is shorter than what it wrote
    told = ("No space left", "quota exceeded", "Quota exceeded", "fail at inline_container")
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(text in str(error) for text in told)
