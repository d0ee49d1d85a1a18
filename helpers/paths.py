"""Where the runs lie, and which of them the notebooks work on: runs/.current, one line with its name."""

from __future__ import annotations

import os
from pathlib import Path

from helpers.files import existing, is_network, write_atomic

PROJECT_ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = Path("/workspace")  # where a rented pod mounts its volume


def runs_root() -> Path:
    """QLORA_RUNS_DIR (below the project's folder), else /workspace/runs on a pod, else the project's own runs/.

    On a network volume, which several pods may have mounted, a folder of this pod's own: /workspace/runs-<pod>.
    """
    if folder := os.environ.get("QLORA_RUNS_DIR"):
        return (PROJECT_ROOT / Path(folder).expanduser()).resolve()  # a kernel works in notebooks/, a script elsewhere
    if not os.access(WORKSPACE, os.W_OK):
        return PROJECT_ROOT / "runs"
    pod = os.environ.get("RUNPOD_POD_ID", "")
    return WORKSPACE / (f"runs-{pod}" if pod and is_network(WORKSPACE) else "runs")


def runs_of_other_pods() -> list[Path]:
    """The other folders of runs on this pod's network volume; to go on in one, set QLORA_RUNS_DIR to it."""
    root = runs_root()
    own = "QLORA_RUNS_DIR" not in os.environ and root.parent == WORKSPACE and root.name != "runs"
    return sorted(folder for folder in WORKSPACE.glob("runs*") if folder.is_dir() and folder != root) if own else []


def chosen_run() -> str:
    """The name in runs/.current; "" when no run was chosen."""
    file = runs_root() / ".current"
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""


def write_chosen(name: str) -> None:
    """Put `name` into runs/.current; "" chooses none."""
    write_atomic(runs_root() / ".current", name + "\n")


def local_path(name: str) -> Path | None:
    """The existing file or folder that `name` means: seen from here, else from the project's folder; None if neither.

    A notebook's kernel works in notebooks/, the scripts in the project's folder: both find the same file.
    """
    if not name or ":" in name.split("/")[0]:
        return None
    candidates = (Path(name).expanduser(), PROJECT_ROOT / name)
    return next((found for path in candidates if (found := existing(path))), None)
