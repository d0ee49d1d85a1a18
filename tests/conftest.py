"""Shared fixtures: one tiny model and one run of the whole series for the whole session, whichever worker makes it."""

import json
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Before anything imports the hub: no network, no W&B account, a runs directory of the test session's own.
# The workers of pytest-xdist inherit it, so they share the run.
os.environ.setdefault("QLORA_RUNS_DIR", tempfile.mkdtemp(prefix="qlora-test-runs-"))
os.environ.update(QLORA_PRESET="tiny", HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENIZERS_PARALLELISM="false")
# threads that wait give the core away: tests run processes side by side
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # as in the kernel: a second for each process that imports
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
for name in ("HF_TOKEN", "WANDB_API_KEY"):
    os.environ.pop(name, None)

# each test of these may go to another worker; the others stay with their file
ALONE = ("notebooks/test_cells.py", "notebooks/test_single_cells.py")


def edit_json(file: Path, **changes) -> None:
    """Other values for some keys of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests go to one worker, since they share its fixtures. (`--dist loadgroup` of pytest-xdist 3.8 does
    nothing under pytest 9.2: it writes the groups where nobody reads them.)"""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return nodeid if file.endswith(ALONE) else file

    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """The series first, what reads its run last, so that no worker waits for it, and slow: the run takes a minute. Of
    both, the files with most slow tests first and those that may be parted last: the workers end at the same time."""
    reading = [
        item for item in items if {"trained_run", "merged_run", "whole_run"} & set(getattr(item, "fixturenames", ()))
    ]
    slow, readers = Counter(item.path for item in items if item.get_closest_marker("slow")), {i.path for i in reading}
    for item in reading:
        item.add_marker("slow")

    def place(item):
        path = item.path
        return path.name != "test_series.py", path.as_posix().endswith(ALONE), path in readers, -slow[path]

    items.sort(key=place)


@pytest.fixture(scope="session")
def tiny_model() -> str:
    """Folder of the tiny base model."""
    from helpers.model.source import TINY_MODEL, resolve_model

    return resolve_model(TINY_MODEL)


@pytest.fixture(scope="session")
def kernel():
    """A kernel for the notebooks that this worker opens alone; see tests/notebooks/kernel.py."""
    from tests.notebooks.kernel import one_kernel

    with one_kernel() as started:
        yield started


def series_run(last: str):
    """The run of preset tiny after the notebooks up to number `last`, each executed once in the whole session."""
    from filelock import FileLock

    from helpers.runs import RunDir
    from helpers.series import run_notebooks, series
    from helpers.settings import RunConfig

    run = RunDir.open(RunConfig.load("tiny"))
    with FileLock(run.path.with_suffix(".series")):
        for notebook in series():
            done = run.path.with_suffix(f".{notebook.stem}")
            if notebook.stem[:2] <= last and not done.exists():
                run_notebooks([notebook], "tiny")
                done.touch()
    return run


@pytest.fixture(scope="session")
def trained_run():
    """The run directory of preset tiny after notebook 04; read it, do not change it (copy it to change it)."""
    return series_run("04")


@pytest.fixture(scope="session")
def merged_run():
    """The same run after notebook 05."""
    return series_run("05")


@pytest.fixture(scope="session")
def whole_run():
    """The same run after the last notebook of the series."""
    return series_run("99")


@pytest.fixture
def two_cores():
    """torch on two threads, however many this worker has."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a real disk of 1 MB that df cannot be trusted about, as on a network volume with a quota."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("a disk of its own needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
