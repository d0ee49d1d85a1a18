"""docs/workshop/pod.sh: one line for each pod, as often as one likes, and a name for one participant alone."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def pod(tmp_path):
    """The project's script in a project whose set-up does nothing, and a Python that has ipykernel."""
    (tmp_path / "project" / "docs" / "workshop").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "workshop" / "pod.sh", tmp_path / "project" / "docs" / "workshop")
    (tmp_path / "project" / "setup_kernel.sh").write_text("echo ready\n")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "venv" / "bin" / "python").chmod(0o755)

    def run(*arguments, host="pod-1", project="project", **variables):
        variables |= {"VENV_DIR": str(tmp_path / "venv"), "HOME": str(tmp_path / "home"), "HOSTNAME": host}
        script = tmp_path / project / "docs" / "workshop" / "pod.sh"
        environment = {**os.environ, **variables}
        environment.pop("JUPYTER_DATA_DIR", None)
        return subprocess.run(["bash", script, *arguments], env=environment, capture_output=True, text=True)

    return run


def test_a_pod_is_set_up_twice_with_one_green_line(pod, tmp_path):
    shared = tmp_path / "volume"
    shared.mkdir()
    for _ in range(2):
        done = pod("홍길동", str(shared))
        assert done.returncode == 0 and done.stdout.count("\n") == 1 and "홍길동 is ready" in done.stdout, done.stderr
    kernels = [*tmp_path.glob("home/**/kernels/qlora/kernel.json"), *tmp_path.glob("venv/share/**/qlora/kernel.json")]
    assert len(kernels) == 2
    for kernel in kernels:
        assert json.loads(kernel.read_text())["env"]["QLORA_RUNS_DIR"] == str(shared / "class" / "홍길동")


@pytest.mark.parametrize("enough, tries", [(True, ["alone"]), (False, ["alone", "with the index"])])
def test_packages_come_from_the_volume_alone_where_that_is_enough(pod, tmp_path, enough, tries):
    """25 pods then load nothing and need no network."""
    wheels = tmp_path / "volume" / "cache" / "wheels"
    wheels.mkdir(parents=True)
    told = 'case " $PIP_FIND_LINKS " in *"/volume/cache/wheels "*) ;; *) exit 2 ;; esac\n'
    told += f'if [ -n "$PIP_NO_INDEX" ]; then echo alone >>{tmp_path}/tries; exit {0 if enough else 1}; fi\n'
    (tmp_path / "project" / "setup_kernel.sh").write_text(told + f"echo with the index >>{tmp_path}/tries\n")
    done = pod("kim", str(tmp_path / "volume"))
    assert done.returncode == 0 and "kim is ready" in done.stdout, done.stderr
    assert (tmp_path / "tries").read_text().splitlines() == tries


def test_a_name_is_taken_once_and_a_bad_one_is_refused(pod, tmp_path):
    (tmp_path / "volume").mkdir()
    assert pod("kim", str(tmp_path / "volume")).returncode == 0
    second = pod("kim", str(tmp_path / "volume"), host="pod-2")
    assert second.returncode == 1 and "kim is on the pod pod-1 already" in second.stderr
    shutil.copytree(tmp_path / "project", tmp_path / "beside")
    again = pod("kim", str(tmp_path / "volume"), project="beside")
    assert again.returncode == 1 and "kim is on the pod pod-1 already (" in again.stderr, "of two on one machine, too"
    for name in ("", "../kim", "a b", "-kim", "a\nb", "$(id)"):
        refused = pod(name, str(tmp_path / "volume"))
        assert refused.returncode == 1 and "must be letters" in refused.stderr
    missing = pod("kim", "/proc/none")
    assert missing.returncode == 1 and "cannot write /proc/none" in missing.stderr


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "", "LANG": "", "LC_CTYPE": ""}, {"LC_ALL": "POSIX"}])
def test_a_korean_name_without_a_korean_locale(pod, tmp_path, locale):
    done = pod("홍길동", str(tmp_path), **locale)
    assert done.returncode == 0 and "홍길동 is ready" in done.stdout, done.stderr


def test_a_terminal_works_on_the_same_runs_as_the_kernel(pod, tmp_path):
    volume = tmp_path / "it's a $HOME volume"
    volume.mkdir()
    assert pod("kim", str(volume)).returncode == 0
    asked = "import os; print(os.environ['QLORA_RUNS_DIR'], os.environ['QLORA_CACHE_DIR'])"
    told = subprocess.run(
        [volume / "class/kim/q", "-c", asked], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert told.stdout.strip() == f"{volume}/class/kim {volume}/cache/qlora", told.stderr
