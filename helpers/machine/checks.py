"""Is this machine ready? Every check is one row: name, ok, detail, fix."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict

import torch

from helpers.machine.places import Check, check_disk, check_ram, check_volume
from helpers.paths import PROJECT_ROOT
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.show.units import human_bytes
from helpers.show.words import N_, _


def check_environment(config: RunConfig) -> list[Check]:
    """All checks, for what `config` is going to do. Takes a few seconds, mostly the import of torch."""
    software = [check_python(), check_torch(), check_gpu(config), check_bfloat16(), check_bitsandbytes()]
    return [*software, check_disk(config), check_ram(config), check_kernel(), check_volume(config)]


def table(checks: list[Check]) -> Table:
    """The checks as a table; the column `fix` appears only when something is to be fixed."""
    columns = ["name", "ok", "detail", "fix"] if any(check.fix for check in checks) else ["name", "ok", "detail"]
    return Table([asdict(check) | {"name": _(check.name)} for check in checks], columns=columns)


def require_green(checks: list[Check]) -> None:
    """Raises RuntimeError with the fix of every red row."""
    red = [f"{_(check.name)}: {check.detail}. {check.fix}" for check in checks if not check.ok]
    if red:
        raise RuntimeError(_("This machine is not ready. {reasons}").format(reasons=" | ".join(red)))


def check_python() -> Check:
    fix = _("Make the environment from Python 3.11 or 3.12: PYTHON=python3.12.")
    return Check("Python", sys.version_info >= (3, 11), platform.python_version(), fix)


def check_torch() -> Check:
    """The range of requirements.txt, which a pod's own build may be in."""
    ((first, end),) = re.findall(r"^torch>=([\d.]+),<([\d.]+)", _requirements(), re.M)
    ok = _version(first) <= _version(torch.__version__) < _version(end)
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else _("CPU build")
    fix = _("Run `bash setup_kernel.sh`: the helpers were tested with torch from {first} on, before {end}.")
    return Check("torch", ok, f"{torch.__version__}, {build}", fix.format(first=first, end=end))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def check_gpu(config: RunConfig) -> Check:
    """A GPU is needed only where the preset names one; a GPU that torch cannot use is always a fault."""
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        names = ", ".join(f"{card.name} {human_bytes(card.total_memory)}" for card in cards)
        return Check("GPU", True, _("{cards}; driver {version}").format(cards=names, version=_nvidia_driver()))
    if driver := _nvidia_driver():
        built = torch.version.cuda or _("no CUDA at all")
        fix = _("torch is built for {built}: choose a pod image whose CUDA is not newer than the driver's.")
        detail = _("driver {version}, but torch cannot use it").format(version=driver)
        return Check("GPU", False, detail, fix.format(built=built))
    if config.gpu:
        fix = _("Preset {preset} is planned for {gpu}: rent one, or set QLORA_PRESET=demo.")
        return Check("GPU", False, _("none"), fix.format(preset=config.preset, gpu=config.gpu))
    detail = _("none: preset {preset} runs on the CPU ({cores} cores)")
    return Check("GPU", True, detail.format(preset=config.preset, cores=os.cpu_count()))


def _nvidia_driver() -> str:
    """The driver's version, or "" where no NVIDIA driver answers."""
    if not shutil.which("nvidia-smi"):
        return ""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    return answer.stdout.split("\n")[0].strip() if answer.returncode == 0 else ""


def check_bfloat16() -> Check:
    """bfloat16 has the range of float32 in half the bytes; without it we compute in float16."""
    detail = _("computed on the CPU")
    if torch.cuda.is_available():
        ampere = torch.cuda.get_device_capability()[0] >= 8
        detail = _("in hardware") if ampere else _("not in hardware: float16 is used instead")
    return Check("bfloat16", True, detail)


def check_bitsandbytes() -> Check:
    """Really quantise a tensor to NF4 and back; the mean error on normal weights is about 9 % of their mean size."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    device = "cuda" if torch.cuda.is_available() else "cpu"
    weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(0)).to(device)
    packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    lost = (dequantize_4bit(packed, state).float() - weight).abs().mean()
    error = (lost / weight.abs().mean()).item()
    ok = packed.numel() == weight.numel() // 2 and error < 0.12
    detail = _("NF4 on {device}: 256 x 256 weights in {size}, mean error {error:.1%}")
    detail = detail.format(device=device, size=human_bytes(packed.numel()), error=error)
    fix = _("Run `bash setup_kernel.sh`: bitsandbytes does not quantise correctly here.")
    return Check("bitsandbytes", ok, detail, fix)


def check_kernel() -> Check:
    """This notebook should run on the kernel `qlora`, whose packages are the pinned ones."""
    import ipywidgets
    import transformers

    (wanted,) = re.findall(r"^transformers==(\S+)", _requirements(), re.M)
    detail = f"{sys.prefix}, transformers {transformers.__version__}, ipywidgets {ipywidgets.__version__}"
    fix = _("Choose the kernel QLoRA (transformers {version}), or run `bash setup_kernel.sh`.").format(version=wanted)
    return Check(N_("kernel"), transformers.__version__ == wanted, detail, fix)


def _requirements() -> str:
    return (PROJECT_ROOT / "requirements.txt").read_text(encoding="utf-8")
