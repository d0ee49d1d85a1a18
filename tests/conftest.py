"""Shared fixtures: one tiny model and one trained run for the whole session, made by the notebooks themselves."""

import os
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Before anything imports the hub: no network, no W&B account, a runs directory of the test session's own.
# nbmake's kernels inherit it, so the notebooks' run (collected first) is the `trained_run` of the other tests.
os.environ.setdefault("QLORA_RUNS_DIR", tempfile.mkdtemp(prefix="qlora-test-runs-"))
os.environ.update(QLORA_PRESET="tiny", HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # threads that wait give the core away: tests run processes side by side
for name in ("HF_TOKEN", "WANDB_API_KEY"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def tiny_model() -> str:
    """Folder of the tiny base model."""
    from helpers.models import TINY_MODEL, resolve_model

    return resolve_model(TINY_MODEL)


@pytest.fixture(scope="session")
def trained_run():
    """The run directory of preset tiny after notebook 04; read it, do not change it (copy it to change it)."""
    from helpers.config import RunConfig
    from helpers.runs import RunDir
    from helpers.series import run_notebooks, series

    run = RunDir.open(RunConfig.load("tiny"))
    if not (run.adapter / "adapter_model.safetensors").exists():
        run_notebooks([path for path in series() if path.stem[:2] in ("03", "04")], "tiny")
    return run


@pytest.fixture(scope="session")
def merged_run(trained_run):
    """The same run after notebook 05."""
    from helpers.series import run_notebooks, series

    if not trained_run.merge_receipt.exists():
        run_notebooks([path for path in series() if path.stem[:2] == "05"], "tiny")
    return trained_run
