import os
import shutil
import subprocess
import sys

import pytest

from helpers.machine import checks, places
from helpers.machine.checks import Check, check_environment, require_green
from helpers.settings import RunConfig
from tests.conftest import ROOT


def test_this_machine_is_ready_for_the_tiny_run():
    rows = check_environment(RunConfig.load("tiny"))
    assert [c.name for c in rows] == "Python torch GPU bfloat16 bitsandbytes disk RAM kernel volume".split()
    require_green(rows)
    assert all(check.detail and not check.fix for check in rows)
    assert "256 x 256 weights in 32.8 kB" in next(c.detail for c in rows if c.name == "bitsandbytes")


def test_preset_for_a_card_is_red_without_one():
    check = checks.check_gpu(RunConfig.load("llama2-7b"))
    assert not check.ok and "RTX 3090" in check.fix and "QLORA_PRESET=demo" in check.fix


def test_red_rows_stop_with_their_fix():
    rows = [Check("Python", True, "3.11.7"), Check("disk", False, "1 GB free", "Enlarge the volume.")]
    with pytest.raises(RuntimeError, match="disk: 1 GB free. Enlarge the volume.") as error:
        require_green(rows)
    assert "Python" not in str(error.value)
    assert "fix" in checks.table(rows).columns and "fix" not in checks.table(rows[:1]).columns


@pytest.mark.parametrize(
    ("runs", "cache", "lost"),
    [
        ("/workspace/runs", "/workspace/hub", None),
        ("/root/runs", "/workspace/hub", "/root/runs"),
        ("/workspace/runs", "/root/hub", "/root/hub"),
        ("/workspace/runs", "/workspace/../root/hub", "/workspace/../root/hub"),
    ],
)
def test_on_a_pod_runs_and_downloads_belong_on_the_volume(monkeypatch, runs, cache, lost):
    monkeypatch.setenv("RUNPOD_POD_ID", "abc")
    monkeypatch.setenv("QLORA_RUNS_DIR", runs)
    monkeypatch.setenv("HF_HOME", "/workspace/hf")  # where downloads are not, once HF_HUB_CACHE is set
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", cache)
    check = places.check_volume()
    assert check.ok is (lost is None) and cache in check.detail and "/workspace/hf" not in check.detail
    assert check.fix.startswith(f"A pod's stop deletes {lost}: ") or check.ok
    assert [row["outlives a stop"] for row in places.places().rows[:2]] == [lost != runs, lost != cache]


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_HOME"])
def test_every_variable_of_the_hubs_client_counts(variable, tmp_path):
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_HOME")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", "from helpers.machine.places import hub_cache; print(hub_cache())"]
    told = subprocess.run(command, env=clean | {variable: str(tmp_path)}, cwd=ROOT, capture_output=True, text=True)
    assert told.stdout.startswith(str(tmp_path)), told.stderr


def test_an_account_without_a_home_folder(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "~/.cache/huggingface/hub")
    monkeypatch.delenv("RUNPOD_POD_ID", raising=False)
    assert places.check_volume(RunConfig.load("tiny")).ok and "~" in str(places.places())
    check = places.check_volume(RunConfig.load("llama2-7b"))
    assert not check.ok and "HF_HOME" in check.fix


@pytest.mark.parametrize(
    ("version", "ok"), [("2.7.1", False), ("2.8.0+cu128", True), ("2.13.9", True), ("2.14.0", False), ("3.0", False)]
)
def test_the_range_of_torch_is_that_of_the_requirements(monkeypatch, version, ok):
    monkeypatch.setattr("torch.__version__", version)
    assert checks.check_torch().ok is ok


def test_another_kernel_is_told(monkeypatch):
    monkeypatch.setattr("transformers.__version__", "4.0")
    check = checks.check_kernel()
    assert not check.ok and "Choose the kernel QLoRA" in check.fix


def test_full_disk_is_red(monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    check = places.check_disk(RunConfig.load("tiny"))
    assert not check.ok and "1 kB free" in check.detail and "QLORA_RUNS_DIR" in check.fix


def test_a_network_volume_is_not_judged_by_df(monkeypatch, tmp_path):
    """df shows the whole cluster there; with the size that was rented, what lies on it is counted."""
    monkeypatch.setattr(places, "free_bytes", lambda folder: None)
    monkeypatch.setattr(places, "WORKSPACE", tmp_path)
    (tmp_path / "data").write_bytes(b"0" * 500_000)
    check = places.check_disk(RunConfig.load("tiny"))
    assert check.ok and "free space is unknown" in check.detail and "volume_gb" in check.detail
    assert "unknown" in str(places.places())
    check = places.check_disk(RunConfig.load("tiny", volume_gb=100))
    assert check.ok and "100 GB free, 500 kB of the 100 GB rented are used" in check.detail
    check = places.check_disk(RunConfig.load("tiny", volume_gb=0.001))
    assert not check.ok and "500 kB free, 500 kB of the 0.001 GB rented" in check.detail
