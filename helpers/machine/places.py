"""Where things lie on this machine, and whether they fit: disk, memory, and what a pod's stop deletes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from helpers.files import folder_bytes, free_bytes
from helpers.model.hub import needs_hub
from helpers.model.memory import free_ram
from helpers.model.shapes import model_config
from helpers.model.source import cache_root
from helpers.paths import WORKSPACE, runs_of_other_pods, runs_root
from helpers.plan.need import device
from helpers.plan.parts import total
from helpers.plan.phases import disk_parts, phases
from helpers.plan.shape import Shape
from helpers.settings import RunConfig
from helpers.show.tables import Table
from helpers.show.units import human_bytes
from helpers.show.words import N_, _


@dataclass(frozen=True)
class Check:
    """One row of notebook 01's table; `fix` is a sentence when `ok` is False, else empty."""

    name: str
    ok: bool
    detail: str
    fix: str = ""

    def __post_init__(self):
        if self.ok:
            object.__setattr__(self, "fix", "")


def hub_cache() -> Path:
    """Where the hub's client keeps downloads (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME); "~/..." without a home."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def places() -> Table:
    """Where runs, downloads and built models are kept, how much is free there, and whether a pod's stop deletes it."""
    rows = []
    for what, variable, folder in (
        (_("runs"), "QLORA_RUNS_DIR", runs_root()),
        (_("hub downloads"), "HF_HOME", hub_cache()),
        (_("built models"), "QLORA_CACHE_DIR", cache_root()),
    ):
        free = free_bytes(folder) if folder.is_absolute() else None
        shown = {"free": _("unknown") if free is None else human_bytes(free), "outlives a stop": _outlives(folder)}
        rows.append({"what": what, "where": str(folder), **shown, "variable": variable})
    return Table(rows)


def _outlives(folder: Path) -> bool:
    """On a pod, only /workspace outlives a stop."""
    return not os.environ.get("RUNPOD_POD_ID") or folder.resolve().is_relative_to(WORKSPACE)


def check_volume(config: RunConfig | None = None) -> Check:
    """On a pod, runs and caches belong on the volume; anywhere, what is downloaded needs a place."""
    runs, cache = runs_root(), hub_cache()
    if not cache.is_absolute() and config and needs_hub(config):
        detail = _("this account has no home folder, so that downloads have no place")
        return Check(N_("volume"), False, detail, _("Set HF_HOME to a folder of your own."))
    if not os.environ.get("RUNPOD_POD_ID"):
        return Check(N_("volume"), True, _("not a pod; runs are kept in {folder}").format(folder=runs))
    lost = [str(folder) for folder in (runs, cache) if not _outlives(folder)]
    fix = _("A pod's stop deletes {folders}: set QLORA_RUNS_DIR and HF_HOME below {volume}, and unset HF_HUB_CACHE.")
    detail = _("runs in {runs}, downloads in {cache}").format(runs=runs, cache=cache)
    if others := ", ".join(map(str, runs_of_other_pods())):
        detail += _("; runs of other pods in {folders}: QLORA_RUNS_DIR chooses one").format(folders=others)
    return Check(N_("volume"), not lost, detail, fix.format(folders=", ".join(lost), volume=WORKSPACE))


def check_disk(config: RunConfig) -> Check:
    """Free space at the runs directory, against the base model's download, the merged copy and the checkpoints."""
    free, known = _free(config)
    try:
        need = total(disk_parts(config, Shape.of(model_config(config))))
    except (ValueError, OSError) as reason:
        return _unplanned(N_("disk"), known, reason)
    detail = _("{known}, the run needs about {need}").format(known=known, need=human_bytes(need))
    fix = _("Enlarge the volume, or point QLORA_RUNS_DIR and HF_HOME to a larger disk.")
    return Check(N_("disk"), free is None or free >= need, detail, fix)


def _free(config: RunConfig) -> tuple[float | None, str]:
    """Bytes free for the runs, and the words for it; None on a network volume whose size we were not told."""
    free = free_bytes(runs_root())
    if free is not None:
        return free, _("{free} free").format(free=human_bytes(free))
    if not config.volume_gb:
        unknown = _(
            "free space is unknown on a network volume (df shows the whole cluster): OVERRIDES = {example} tells"
        )
        return None, unknown.format(example="{'volume_gb': ...}")
    taken = folder_bytes(WORKSPACE)
    left = config.volume_gb * 1e9 - taken
    sentence = _("{free} free, {taken} of the {size:g} GB rented are used")
    return left, sentence.format(free=human_bytes(max(left, 0)), taken=human_bytes(taken), size=config.volume_gb)


def check_ram(config: RunConfig) -> Check:
    """Free memory of the machine against the fullest phase of the plan there, merge and merged model included."""
    free = free_ram()
    available = _("{free} available").format(free=human_bytes(free))
    try:
        here = device(config)
        found = phases(config, Shape.of(model_config(config)), here)
    except (ValueError, OSError) as reason:
        return _unplanned("RAM", available, reason)
    needs = {phase.name: phase.ram if here.gpu else max(phase.ram, phase.device) for phase in found}
    worst = max(needs, key=needs.__getitem__)
    sentence = _("{available}, the run needs at most about {need} ({phase})")
    detail = sentence.format(available=available, need=human_bytes(needs[worst]), phase=_(worst))
    fix = _("Close other notebooks, or change the settings as 00_plan.ipynb advises.")
    return Check("RAM", free >= needs[worst], detail, fix)


def _unplanned(name: str, detail: str, reason: Exception) -> Check:
    """A model that cannot be planned is no fault of the machine: the other checks go on."""
    return Check(name, False, _("{detail}; what the run needs is not known").format(detail=detail), str(reason))
