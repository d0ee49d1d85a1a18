import pytest

from helpers.machine import checks
from helpers.machine.checks import Check, check_environment, require_green
from helpers.settings import RunConfig


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


def test_pod_without_the_volume_is_red(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNPOD_POD_ID", "abc")
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    monkeypatch.setenv("HF_HOME", "/workspace/hf")
    check = checks.check_volume()
    assert not check.ok and str(tmp_path) in check.fix and "/workspace/hf" not in check.fix
    monkeypatch.setenv("QLORA_RUNS_DIR", "/workspace/runs")
    assert checks.check_volume().ok


def test_full_disk_is_red(monkeypatch):
    import shutil

    usage = shutil.disk_usage("/")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    check = checks.check_disk(RunConfig.load("tiny"))
    assert not check.ok and "1 kB free" in check.detail and "QLORA_RUNS_DIR" in check.fix


def test_a_network_volume_is_not_judged_by_df(monkeypatch, tmp_path):
    """df shows the whole cluster there; with the size that was rented, what lies on it is counted."""
    monkeypatch.setattr(checks, "free_bytes", lambda folder: None)
    monkeypatch.setattr(checks, "WORKSPACE", tmp_path)
    (tmp_path / "data").write_bytes(b"0" * 500_000)
    check = checks.check_disk(RunConfig.load("tiny"))
    assert check.ok and "free space is unknown" in check.detail and "volume_gb" in check.detail
    assert "unknown" in str(checks.places())
    check = checks.check_disk(RunConfig.load("tiny", volume_gb=100))
    assert check.ok and "100 GB free, 500 kB of the 100 GB rented are used" in check.detail
    check = checks.check_disk(RunConfig.load("tiny", volume_gb=0.001))
    assert not check.ok and "500 kB free, 500 kB of the 0.001 GB rented" in check.detail
