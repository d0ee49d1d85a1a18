"""What memory is free, in a container too, and who holds a GPU's."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from helpers.model.meta import on_meta
from helpers.model.source import ModelSource
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import _

if TYPE_CHECKING:
    import torch

SHARE = 0.5  # of the free memory of a CPU: what unpacked weights may take
ROOM = 1.15  # of the weights: what an evaluation and a reply need beside them
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
# control groups, version 2 and 1: the limit, what is taken, and what stands before the counts of whole groups
NAMES = (("memory.max", "memory.current", ""), ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"))


def free_memory(device: torch.device) -> float:
    """Bytes that this process can still have on `device`: its own cached ones, and the free ones there."""
    import torch

    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return free_ram()


def free_ram() -> float:
    """Bytes of the machine's memory that this process can still have, or less where its container is allowed less."""
    return min(psutil.virtual_memory().available, left_in_container())


def stays_unpacked(size: float) -> bool:
    """Whether a CPU keeps `size` bytes of unpacked 4-bit weights (`unpacking`): up to half of what is free."""
    return size <= SHARE * free_ram()


def memory_of_this_machine() -> int:
    """Bytes of memory, or less where a container is allowed less."""
    return min([psutil.virtual_memory().total, *(limit for limit, _used in _limits(CGROUP, OWN_CGROUP))])


def left_in_container(root: Path = CGROUP, own: Path = OWN_CGROUP) -> float:
    """Bytes that this process may still take by its control groups' limits, pages of files free; infinite for none."""
    return max(0, min([float("inf"), *(limit - used for limit, used in _limits(root, own))]))


def _limits(root: Path, own: Path) -> Iterator[tuple[int, int]]:
    """(limit, what is taken without pages of files) of this process's control group and of all those above it."""
    for folder in _groups(root, own):
        for limit, used, prefix in NAMES:
            most = (folder / limit).read_text().strip() if (folder / limit).is_file() else ""
            if most.isdigit():  # "max" is no limit
                counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                dropped = sum(int(counts.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
                yield int(most), max(0, int((folder / used).read_text()) - dropped)


def _groups(root: Path, own: Path) -> list[Path]:
    """The folders of this process's group and of those above it, wherever a memory controller may be mounted."""
    paths = {"": Path(), "memory": Path()}  # controllers -> the group below their mount
    for line in own.read_text().splitlines() if own.exists() else ():
        _number, controllers, path = line.split(":", 2)
        for name in paths.keys() & set(controllers.split(",")):
            paths[name] = Path(*(part for part in path.split("/") if part != ".."))
    mounts = ((root, paths[""]), (root / "unified", paths[""]), (root / "memory", paths["memory"]))
    return [mount / group for mount, path in mounts for group in (path, *path.parents)]


def require_room(config: RunConfig) -> None:
    """Raises MemoryError, naming the kernels that hold a GPU, when the 16-bit base does not fit what is free there."""
    import torch

    if not torch.cuda.is_available():
        return
    gc.collect()
    torch.cuda.empty_cache()
    free, there = torch.cuda.mem_get_info()
    free += torch.cuda.memory_reserved()  # this kernel's own: it comes free when its cells run again
    needed = ROOM * weight_bytes(config)
    if free >= needed:
        return
    who = _("Nothing else that this container can see holds a GPU: ask nvidia-smi.")
    if names := _(" and ").join(holders()):
        who = _("A GPU is held by {names}.").format(names=names)
    sentence = _(
        "This page needs {needed} of GPU memory; {free} of {there} are free. {who} A notebook keeps its memory as long "
        "as its kernel lives: shut down what you do not need (in JupyterLab: Kernel > Shut Down Kernel), then run this "
        "cell again."
    )
    needed, free, there = map(human_bytes, (needed, free, there))
    raise MemoryError(sentence.format(needed=needed, free=free, there=there, who=who))


def weight_bytes(config: RunConfig) -> int:
    """Bytes of the run's base model in 16 bits, from its config alone."""
    model = on_meta(ModelSource.of(config).settings(), trust_remote_code=config.trust_remote_code)
    return 2 * sum(parameter.numel() for parameter in model.parameters())


def holders(device: str = "/dev/nvidia") -> list[str]:
    """Other processes of this container that have a file open whose path begins with `device`, each in words."""
    names = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it ended meanwhile, or belongs to somebody else
            opened = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
            if process.pid == os.getpid() or not any(path.startswith(device) for path in opened):
                continue
            notebook = process.environ().get("JPY_SESSION_NAME")  # Jupyter gives it to the kernels it starts
            what = _("the kernel of {notebook}").format(notebook=Path(notebook).name) if notebook else process.name()
            names.append(_("{what} (process {number})").format(what=what, number=process.pid))
    return names


def file_bytes(folder: Path | str) -> int:
    """Bytes of the weight files in a model's folder."""
    return sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
