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
    (tmp_path / "torch" / "version.py").write_text("cuda: Optional[str] = '12.8'\n")
    result = set_up(tmp_path, PYTHON=sys.executable, PYTHONPATH=str(tmp_path), PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert "with the CUDA build of torch that is already here" in result.stdout
    assert "include-system-site-packages = true" in (tmp_path / "venv" / "pyvenv.cfg").read_text()


def test_short_disk(tmp_path):
    (tmp_path / "df").write_text("#!/bin/sh\necho Filesystem 1024-blocks Used Available\necho /dev/x 9 9 1200000\n")
    (tmp_path / "df").chmod(0o755)
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
        and "'--fast' is no option: use no option, --run [PRESET], --test or --canary." in result.stderr
    )
