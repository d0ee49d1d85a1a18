"""setup_kernel.sh where it must refuse: one clear sentence each, nothing half-done left behind."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def set_up(tmp_path, *arguments, **variables):
    environment = {**os.environ, "VENV_DIR": str(tmp_path / "venv"), **variables}
    return subprocess.run(
        ["bash", ROOT / "setup_kernel.sh", *arguments], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("exists", [True, False])
def test_old_or_missing_python(tmp_path, exists):
    interpreter = tmp_path / "python"
    if exists:
        interpreter.write_text("#!/bin/sh\nexit 1\n")  # how python_kind's question ends on an old Python
        interpreter.chmod(0o755)
    result = set_up(tmp_path, PYTHON=str(interpreter))
    assert result.returncode == 1 and "no Python 3.11 or newer found" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_cuda_torch_of_the_system_is_kept(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('the check must not import torch')")
    (tmp_path / "torch" / "version.py").write_text("__version__ = '2.9.1+cu128'\ncuda: Optional[str] = '12.8'\n")
    result = set_up(tmp_path, PYTHON=sys.executable, PYTHONPATH=str(tmp_path), PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert "with the CUDA build of torch that is already here" in result.stdout
    assert "include-system-site-packages = true" in (tmp_path / "venv" / "pyvenv.cfg").read_text()


def image(folder, torch: str = "", driver: str = ""):
    """What a GPU image has: a torch of its own, found by PYTHONPATH here, and a driver that answers nvidia-smi.

    Its disk is short, which is asked last: a set-up that gets there had nothing against torch and driver.
    """
    (folder / "image" / "torch").mkdir(parents=True)
    short_disk(folder)
    if torch:
        (folder / "image" / "torch" / "__init__.py").write_text("raise SystemExit('must not be imported')")
        text = f"__all__ = []\n__version__ = '{torch}'\ncuda: Optional[str] = '12.6'\n"
        (folder / "image" / "torch" / "version.py").write_text(text)
    if driver:
        (folder / "nvidia-smi").write_text(
            f"#!/bin/sh\necho '| NVIDIA-SMI 550.1  Driver Version: 550.1  CUDA Version: {driver} |'"
        )
        (folder / "nvidia-smi").chmod(0o755)
    path = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": sys.executable}
    return {**path, "PYTHONPATH": str(folder / "image") if torch else "", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}


@pytest.mark.parametrize("torch", ["2.6.0+cu126", "2.7.1", "2.14.0"])
def test_a_torch_that_is_not_taken_is_told_before_any_download(tmp_path, torch):
    result = set_up(tmp_path, **image(tmp_path, torch, driver="13.0"))
    assert result.returncode == 1 and not (tmp_path / "venv").exists()
    assert f"this image has torch {torch}, the project needs 2.8 to 2.13" in result.stderr
    assert "NEW_TORCH=1" in result.stderr and len(result.stderr.splitlines()) == 1
    result = set_up(tmp_path, **image(tmp_path / "again", torch, driver="13.0"), NEW_TORCH="1")
    assert "only 1 GB are free here" in result.stderr


@pytest.mark.parametrize(("driver", "fits"), [("12.8", False), ("13.0", True), ("14.1", True)])
def test_a_driver_too_old_for_the_wheel_is_told_before_any_download(tmp_path, driver, fits):
    result = set_up(tmp_path, **image(tmp_path, driver=driver))
    assert (
        f"the driver here knows CUDA {driver}, the torch that pip would download needs" in result.stderr
    ) is not fits
    assert ("only 1 GB are free here" in result.stderr) is fits and not (tmp_path / "venv").exists()


@pytest.mark.parametrize("gone", [True, False])
def test_an_environment_of_another_image_is_made_anew(tmp_path, gone):
    """Its python is a link to nowhere, or one that is too old."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    if gone:
        python.symlink_to("/usr/bin/python3.99")
        (tmp_path / "venv" / "bin" / "python3").symlink_to("python")
    else:
        python.write_text("#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
    if not gone:
        short_disk(tmp_path)  # seen is enough: the other case makes it
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = set_up(tmp_path, PYTHON=sys.executable, **offline)
    assert "was made by a Python that is not here any more, or too old" in result.stdout
    if gone:
        assert subprocess.run([python, "-c", ""]).returncode == 0 and "installing pinned packages" in result.stderr


def test_a_folder_that_is_no_environment_is_never_cleared(tmp_path):
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "thesis.txt").write_text("mine")
    result = set_up(tmp_path)
    assert result.returncode == 1 and "is there and is no virtual environment" in result.stderr
    assert (tmp_path / "venv" / "thesis.txt").read_text() == "mine"


def test_line_ends_survive_a_clone_made_on_windows(tmp_path):
    git = ["git", "-c", "core.autocrlf=true", "-c", "safe.directory=*"]
    subprocess.run(
        [*git, "clone", "--quiet", "--no-hardlinks", "--depth", "1", f"file://{ROOT}", tmp_path / "clone"], check=True
    )
    for name in ("setup_kernel.sh", "requirements.txt", ".gitattributes"):
        assert b"\r" not in (tmp_path / "clone" / name).read_bytes(), name


def short_disk(folder):
    (folder / "df").write_text("#!/bin/sh\necho Filesystem 1024-blocks Used Available\necho /dev/x 9 9 1200000\n")
    (folder / "df").chmod(0o755)


def test_short_disk(tmp_path):
    short_disk(tmp_path)
    result = set_up(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert result.returncode == 1 and "only 1 GB are free here" in result.stderr and "VENV_DIR" in result.stderr


def test_failed_install_gives_its_reason(tmp_path):
    result = set_up(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("setup_kernel.sh: installing pinned packages") and "failed: ERROR: " in last


def test_unknown_option(tmp_path):
    result = set_up(tmp_path, "--fast")
    assert (
        result.returncode == 1
        and "'--fast' is no option: use no option, --run [PRESET], --test, --korean or --canary." in result.stderr
    )
