"""Is this machine ready? Every check is one row: name, ok, detail, fix."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.files import folder_bytes, free_bytes
from helpers.paths import WORKSPACE, runs_of_other_pods, runs_root
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.show.units import human_bytes


@dataclass(frozen=True)
class Check:
    """One row. `fix` is a sentence when `ok` is False, else empty."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def check_environment(config: RunConfig) -> list[Check]:
    """All checks, for what `config` is going to do. Takes a few seconds, mostly the import of torch."""
    return [
        check_python(),
        check_torch(),
        check_gpu(config),
        check_bfloat16(),
        check_bitsandbytes(),
        check_disk(config),
        check_ram(config),
        check_kernel(),
        check_volume(),
    ]


def table(checks: list[Check]) -> Table:
    """The checks as a table; the column `fix` appears only when something is to be fixed."""
    columns = ["name", "ok", "detail"] + (["fix"] if any(c.fix for c in checks) else [])
    return Table([asdict(c) for c in checks], columns=columns)


def check_python() -> Check:
    version = platform.python_version()
    ok = sys.version_info >= (3, 11)
    return Check(
        "Python", ok, version, "" if ok else "Make the environment from Python 3.11 or 3.12: PYTHON=python3.12."
    )


def check_torch() -> Check:
    import torch

    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    ok = (2, 8) <= (major, minor) < (2, 14)
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    fix = "" if ok else "Run `bash setup_kernel.sh`: the helpers were tested with torch 2.8 to 2.13."
    return Check("torch", ok, f"{torch.__version__}, {build}", fix)


def check_gpu(config: RunConfig) -> Check:
    """A GPU is needed only where the preset names one; a GPU that torch cannot use is always a fault."""
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        detail = ", ".join(f"{card.name} {human_bytes(card.total_memory)}" for card in cards)
        return Check("GPU", True, f"{detail}; driver {_nvidia_driver()}")
    if driver := _nvidia_driver():
        built = torch.version.cuda or "no CUDA at all"
        return Check(
            "GPU",
            False,
            f"driver {driver}, but torch cannot use it",
            f"torch is built for {built}: choose a pod image whose CUDA is not newer than the driver's.",
        )
    if config.gpu:
        return Check(
            "GPU",
            False,
            "none",
            f"Preset {config.preset} is planned for {config.gpu}: rent one, or set QLORA_PRESET=demo.",
        )
    return Check("GPU", True, f"none: preset {config.preset} runs on the CPU ({os.cpu_count()} cores)")


def _nvidia_driver() -> str:
    """The driver's version, or "" where no NVIDIA driver answers."""
    if not shutil.which("nvidia-smi"):
        return ""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    return answer.stdout.split("\n")[0].strip() if answer.returncode == 0 else ""


def check_bfloat16() -> Check:
    """bfloat16 has the range of float32 in half the bytes; without it we compute in float16."""
    import torch

    if not torch.cuda.is_available():
        return Check("bfloat16", True, "computed on the CPU")
    ok = torch.cuda.get_device_capability()[0] >= 8
    return Check("bfloat16", True, "in hardware" if ok else "not in hardware: float16 is used instead")


def check_bitsandbytes() -> Check:
    """Really quantise a tensor to NF4 and back; the error of 4 bits on normal weights is about 0.07 per unit of std."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    device = "cuda" if torch.cuda.is_available() else "cpu"
    weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(0)).to(device)
    packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    error = (dequantize_4bit(packed, state).float() - weight).abs().mean().item()
    ok = packed.numel() == weight.numel() // 2 and error < 0.1
    detail = f"NF4 on {device}: 256 x 256 weights in {human_bytes(packed.numel())}, mean error {error:.3f}"
    return Check(
        "bitsandbytes",
        ok,
        detail,
        "" if ok else "Run `bash setup_kernel.sh`: bitsandbytes does not quantise correctly here.",
    )


def check_disk(config: RunConfig) -> Check:
    """Free space at the runs directory, against the base model's download, the merged copy and the checkpoints."""
    from helpers.model.shapes import model_config
    from helpers.plan.memory import total
    from helpers.plan.phases import disk_parts
    from helpers.plan.shape import Shape

    free, used = free_bytes(runs_root()), ""
    if free is None and config.volume_gb:  # a network volume whose size we were told
        taken = folder_bytes(WORKSPACE)
        free, used = (
            config.volume_gb * 1e9 - taken,
            f", {human_bytes(taken)} of the {config.volume_gb:g} GB rented are used",
        )
    told = (
        "free space is unknown on a network volume (df shows the whole cluster): OVERRIDES = {'volume_gb': ...} tells"
    )
    known = told if free is None else f"{human_bytes(max(free, 0))} free{used}"
    try:
        need = total(disk_parts(config, Shape.of(model_config(config))))
    except (ValueError, OSError) as reason:
        return _unplanned("disk", known, reason)
    if free is None:
        return Check("disk", True, f"{known}; the run needs about {human_bytes(need)}")
    ok = free >= need
    detail = f"{human_bytes(max(free, 0))} free{used}, the run needs about {human_bytes(need)}"
    return Check(
        "disk", ok, detail, "" if ok else "Enlarge the volume, or point QLORA_RUNS_DIR and HF_HOME to a larger disk."
    )


def check_ram(config: RunConfig) -> Check:
    """Free memory of the machine against the fullest moment that the plan counts there, merge and merged model included."""
    from helpers.model.memory import free_ram
    from helpers.model.shapes import model_config
    from helpers.plan.need import device
    from helpers.plan.phases import phases
    from helpers.plan.shape import Shape

    free = free_ram()
    try:
        here = device(config)
        found = phases(config, Shape.of(model_config(config)), here)
    except (ValueError, OSError) as reason:
        return _unplanned("RAM", f"{human_bytes(free)} available", reason)
    worst = max(found, key=lambda phase: phase.ram if here.gpu else max(phase.ram, phase.device))
    need = worst.ram if here.gpu else max(worst.ram, worst.device)
    ok = free >= need
    detail = f"{human_bytes(free)} available, the run needs at most about {human_bytes(need)} ({worst.name})"
    return Check(
        "RAM", ok, detail, "" if ok else "Close other notebooks, or change the settings as 00_plan.ipynb advises."
    )


def _unplanned(name: str, detail: str, reason: Exception) -> Check:
    """A model that cannot be planned is no fault of the machine: the other checks go on."""
    return Check(name, False, f"{detail}; what the run needs is not known", str(reason))


def check_kernel() -> Check:
    """This notebook should run on the kernel `qlora`, whose packages are the pinned ones."""
    import ipywidgets
    import transformers

    wanted = next(line.split("==")[1].strip() for line in _requirements() if line.startswith("transformers=="))
    ok = transformers.__version__ == wanted
    detail = f"{sys.prefix}, transformers {transformers.__version__}, ipywidgets {ipywidgets.__version__}"
    return Check(
        "kernel",
        ok,
        detail,
        "" if ok else f"Choose the kernel QLoRA (transformers {wanted}), or run `bash setup_kernel.sh`.",
    )


def _requirements() -> list[str]:
    from helpers.paths import PROJECT_ROOT

    return (PROJECT_ROOT / "requirements.txt").read_text().splitlines()


def check_volume() -> Check:
    """On a pod, only /workspace outlives a stop: runs and caches belong there."""
    if not os.environ.get("RUNPOD_POD_ID"):
        return Check("volume", True, f"not a pod; runs are kept in {runs_root()}")
    hf_home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    lost = [str(p) for p in (runs_root(), hf_home) if not p.is_relative_to(WORKSPACE)]
    fix = (
        f"Not on the volume, so lost when the pod stops: {', '.join(lost)}. Set QLORA_RUNS_DIR and HF_HOME below {WORKSPACE}."
        if lost
        else ""
    )
    others = ", ".join(map(str, runs_of_other_pods()))
    told = f"; runs of other pods in {others}: QLORA_RUNS_DIR chooses one" if others else ""
    return Check("volume", not lost, f"runs in {runs_root()}, downloads in {hf_home}{told}", fix)


def require_green(checks: list[Check]) -> None:
    """Raises RuntimeError with the fix of every red row."""
    red = [f"{check.name}: {check.detail}. {check.fix}" for check in checks if not check.ok]
    if red:
        raise RuntimeError("This machine is not ready. " + " | ".join(red))


def places() -> Table:
    """Where runs, downloads and built models are kept, how much is free there, and whether a pod's stop deletes it."""
    from helpers.model.source import cache_root

    hf_home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    on_pod = bool(os.environ.get("RUNPOD_POD_ID"))
    rows = []
    for what, variable, folder in (
        ("runs", "QLORA_RUNS_DIR", runs_root()),
        ("hub downloads", "HF_HOME", hf_home),
        ("built models", "QLORA_CACHE_DIR", cache_root()),
    ):
        free = free_bytes(folder)
        kept = not on_pod or folder.is_relative_to(WORKSPACE)
        rows.append(
            {
                "what": what,
                "where": str(folder),
                "free": "unknown" if free is None else human_bytes(free),
                "outlives a stop": kept,
                "variable": variable,
            }
        )
    return Table(rows)
