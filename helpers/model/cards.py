"""The GPUs of this machine: which one a notebook uses, and who holds the memory that it needs."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path

from helpers.model.source import hub_revision, resolve_model
from helpers.settings import RunConfig
from helpers.show.units import human_bytes

ROOM = 1.15  # of the weights: what an evaluation and a reply need beside them


def use_cards(config: RunConfig) -> str:
    """Let this process see one GPU, unless it is one of several or `config.split_model` wants all; says what it will use.

    With several in sight and no launcher the Trainer would copy a 4-bit model to each of them, and TRL refuses. Call it
    before anything touches a GPU: CUDA reads CUDA_VISIBLE_DEVICES once.
    """
    import torch

    count = torch.cuda.device_count()
    if count < 2 or "WORLD_SIZE" in os.environ:
        return "one GPU" if count else "the CPU"
    if config.split_model:
        return f"all {count} GPUs, each with a part of the layers (split_model)"
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.environ["CUDA_VISIBLE_DEVICES"] = first
    return f"GPU {first}, the first of {count}; `start(run, config, processes={count})` in 04 trains on all of them"


def require_room(config: RunConfig) -> None:
    """Raises MemoryError, naming the kernels that hold a GPU, when the 16-bit base model does not fit what is free there."""
    import torch

    if not torch.cuda.is_available():
        return
    gc.collect()
    torch.cuda.empty_cache()
    free, there = torch.cuda.mem_get_info()
    free += torch.cuda.memory_reserved()  # this kernel's own: it comes free when its cells run again
    needed = ROOM * weight_bytes(config)
    if free < needed:
        told = " and ".join(holders())
        told = (
            f"A GPU is held by {told}"
            if told
            else "Nothing else that this container can see holds a GPU: ask nvidia-smi"
        )
        raise MemoryError(
            f"This page needs {human_bytes(needed)} of GPU memory; {human_bytes(free)} of {human_bytes(there)} are free. "
            f"{told}. A notebook keeps its memory as long as its kernel lives: shut down what you do not need (in JupyterLab: "
            "Kernel > Shut Down Kernel), then run this cell again."
        )


def weight_bytes(config: RunConfig) -> int:
    """Bytes of the run's base model in 16 bits, from its config alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    trust = config.trust_remote_code
    where = {"revision": hub_revision(config.model_revision), "trust_remote_code": trust}
    settings = AutoConfig.from_pretrained(resolve_model(config.model_id), **where)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings, trust_remote_code=trust)
    return 2 * sum(parameter.numel() for parameter in model.parameters())


def holders(device: str = "/dev/nvidia") -> list[str]:
    """Other processes of this container that have a file open whose path begins with `device`, each in words."""
    import psutil

    told = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it ended meanwhile, or belongs to somebody else
            opened = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
            if process.pid != os.getpid() and any(path.startswith(device) for path in opened):
                notebook = process.environ().get("JPY_SESSION_NAME")  # Jupyter gives it to the kernels it starts
                what = f"the kernel of {Path(notebook).name}" if notebook else process.name()
                told.append(f"{what} (process {process.pid})")
    return told
