"""setup_kernel.sh where it must refuse: one clear sentence each, nothing half-done left behind."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig

import pytest

from tests.conftest import ROOT


def set_up(tmp_path, *arguments, project=ROOT, **variables):
    environment = {**os.environ, "VENV_DIR": str(tmp_path / "venv"), **variables}
    return subprocess.run(
        ["bash", project / "setup_kernel.sh", *arguments], env=environment, capture_output=True, text=True
    )


OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}  # the environment is made, then there is nothing to install


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # never through a link: it leads to the real Python
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with its own pip, and the packages of this one."""
    folder = tmp_path_factory.mktemp("made") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    [site] = (folder / "lib").glob("python*/site-packages")
    (site / "all.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture(scope="module")
def quick(environment) -> str:
    """This Python, whose `-m venv` copies a pip that is there into the environment: ensurepip takes six seconds for it."""
    text = f"""
if [ "$1 $2" != "-m venv" ]; then exec {sys.executable} "$@"; fi
{sys.executable} "$@" --without-pip && cp -r {environment}/lib/python*/site-packages/pip* "${{!#}}"/lib/python*/site-packages"""
    return str(program(environment.parent / "quick", text))


def sentence(result) -> str:
    """The only line of a refusal."""
    assert result.returncode == 1, result.stdout
    [line] = result.stderr.strip().splitlines()
    return line.removeprefix("setup_kernel.sh: ")


@pytest.mark.parametrize("exists", [True, False])
def test_old_or_missing_python(tmp_path, exists):
    interpreter = tmp_path / "python"
    if exists:
        interpreter.write_text("#!/bin/sh\nexit 1\n")  # how python_kind's question ends on an old Python
        interpreter.chmod(0o755)
    result = set_up(tmp_path, PYTHON=str(interpreter))
    assert result.returncode == 1 and "no Python 3.11 or newer found" in result.stderr
    assert not (tmp_path / "venv").exists()


KOREAN = "3.11 이상인 Python을 찾지 못했습니다 (PYTHON={python})(python3: "
LANGUAGES = {  # how a machine says its language -> whether that is Korean
    "ko_KR.UTF-8": {"LANG": "ko_KR.UTF-8"}, "LC_MESSAGES": {"LANG": "C.UTF-8", "LC_MESSAGES": "ko_KR.UTF-8"},
    "QLORA_LANG": {"LANG": "C.UTF-8", "QLORA_LANG": "ko"}, "": {"LANG": "C.UTF-8"},
    "en": {"LANG": "ko_KR.UTF-8", "QLORA_LANG": "en"}, "no such": {"LANG": "xx_YY"},
}  # fmt: skip


@pytest.mark.parametrize("name", [*LANGUAGES, "--korean"])
def test_a_korean_machine_is_told_in_korean(tmp_path, name):
    """What is filled in stays to the letter."""
    python = program(tmp_path / 'a "{there}" & $x' / "python", "exit 1")
    quiet = {"QLORA_LANG": "", "LC_ALL": "", "LC_MESSAGES": "", **LANGUAGES.get(name, LANGUAGES[""])}
    told = sentence(set_up(tmp_path, *([name] if name == "--korean" else []), PYTHON=str(python), **quiet))
    english = f"no Python 3.11 or newer found (PYTHON={python}) (python3 is "
    assert told.startswith(KOREAN.format(python=python) if name not in ("", "en", "no such") else english)


@pytest.mark.slow  # makes an environment
def test_cuda_torch_of_the_system_is_kept(tmp_path, quick):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('the check must not import torch')")
    (tmp_path / "torch" / "version.py").write_text("__version__ = '2.9.1+cu128'\ncuda: Optional[str] = '12.8'\n")
    result = set_up(tmp_path, PYTHON=quick, PYTHONPATH=str(tmp_path), **OFFLINE)
    assert "with the CUDA build of torch that is already here" in result.stdout
    assert "include-system-site-packages = true" in (tmp_path / "venv" / "pyvenv.cfg").read_text()


def test_a_torch_that_stays_keeps_what_it_asks_for(tmp_path):
    """torch 2.6 wants one sympy, and the pins another: no version is both."""
    about = tmp_path / "torch-2.6.0.dist-info" / "METADATA"
    about.parent.mkdir()
    asked = ['sympy (==1.13.1) ; python_version >= "3.9"', "jinja2", "filelock>=2", 'mpmath<1; extra == "old"']
    about.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0\n")
    with about.open("a") as file:
        file.writelines(f"Requires-Dist: {one}\n" for one in asked)
    (tmp_path / "pins.txt").write_text("# those\nfilelock==3.1\nmpmath==1.3.0\nsympy==1.14.0\n")
    command = [sys.executable, ROOT / "setup_kernel.py", "constraints", tmp_path / "pins.txt"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert told.split("\n") == ["torch==2.6.0", "# those", "filelock==3.1", "mpmath==1.3.0", ""]


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


@pytest.mark.slow
@pytest.mark.parametrize("gone", [True, False])
def test_an_environment_of_another_image_is_made_anew(tmp_path, quick, gone):
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
    result = set_up(tmp_path, PYTHON=quick, **OFFLINE, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "was made by a Python that is not here any more, or too old" in result.stdout
    if gone:
        assert subprocess.run([python, "-c", ""]).returncode == 0 and "installing pinned packages" in result.stderr


def test_a_folder_that_is_no_environment_is_never_cleared(tmp_path):
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "thesis.txt").write_text("mine")
    result = set_up(tmp_path)
    assert result.returncode == 1 and "is there and is no virtual environment" in result.stderr
    assert (tmp_path / "venv" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("home", ["/nowhere", sys.base_prefix])
def test_a_home_of_python_that_breaks_every_environment_is_told(tmp_path, home):
    assert sentence(set_up(tmp_path, PYTHONHOME=home)).startswith(f"PYTHONHOME={home} is set")


def test_a_folder_in_the_home_as_an_env_file_writes_it(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    told = sentence(set_up(tmp_path, VENV_DIR="~/mine", HOME=str(tmp_path)))
    assert told.startswith(f"{tmp_path}/mine is there and is no virtual environment")


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_another_shell_and_a_link_to_the_script(tmp_path, shell):
    (tmp_path / "setup").symlink_to(ROOT / "setup_kernel.sh")
    for script in (ROOT / "setup_kernel.sh", tmp_path / "setup"):
        result = subprocess.run([shell, script, "--fast"], cwd=tmp_path, capture_output=True, text=True)
        assert sentence(result).startswith("'--fast' is no option")


@pytest.mark.parametrize(("told", "cure"), [
    ("Error: Command '['/x/bin/python', '-m', 'ensurepip']' died with <Signals.SIGXFSZ: 25>.", "SIGXFSZ"),
    ("Error: [Errno 28] No space left on device", "No space left"),
    ("The virtual environment was not created since ensurepip is not\navailable.", "apt-get install python3-venv"),
    ("/usr/bin/python3.12: No module named ensurepip", "apt-get install python3-venv"),
])  # fmt: skip
def test_why_no_environment_could_be_made(tmp_path, told, cure):
    text = f"""if [ "$2" = venv ]; then echo {shlex.quote(told)}; exit 1; fi\nexec {sys.executable} "$@\""""
    python = program(tmp_path / "python3", text)
    said = sentence(set_up(tmp_path, PYTHON=str(python), PYTHONPATH="/of/mine"))
    assert said.startswith("could not make") and cure in said
    assert (
        ("python3-venv" in said) == ("ensurepip is" in told or "No module" in told) != ("PYTHONPATH=/of/mine" in said)
    )


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


@pytest.mark.slow  # makes an environment
def test_failed_install_gives_its_reason(tmp_path):
    result = set_up(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("setup_kernel.sh: installing pinned packages") and "failed: ERROR: " in last


def alone(folder, name, text):
    """A PATH on which no other Python is found."""
    program(folder / "bin" / name, text)
    for tool in "bash cat cksum sed realpath dirname grep tail head ls df awk rm printf".split():
        (folder / "bin" / tool).symlink_to(shutil.which(tool))
    return {"PATH": str(folder / "bin"), **OFFLINE}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python3.13", "python3.14", "python3.11"])
def test_a_python_that_is_there_under_one_name_alone(tmp_path, quick, name):
    told = sentence(set_up(tmp_path, **alone(tmp_path, name, f'PATH={os.environ["PATH"]} exec {quick} "$@"')))
    assert "installing pinned packages" in told


@pytest.mark.parametrize("name", ["python2", "python3.10", "ruby"])
def test_no_python_is_one_sentence(tmp_path, name):
    told = sentence(set_up(tmp_path, **alone(tmp_path, name, "exit 1")))
    assert told.startswith("no Python 3.11 or newer found (python3 is not there)")


@pytest.mark.slow  # makes an environment
def test_a_blank_in_the_path_of_python(tmp_path, quick):
    python = program(tmp_path / "my tools" / "python 3", f'exec {quick} "$@"')
    assert "installing pinned packages" in sentence(set_up(tmp_path, PYTHON=str(python), **OFFLINE))
    told = sentence(set_up(tmp_path / "b", PYTHON=str(tmp_path / "my tools" / "none")))
    assert told.startswith("no Python 3.11 or newer found (PYTHON=") and "my tools/none)" in told


@pytest.mark.slow
@pytest.mark.parametrize("left", ["no pip", "half a pip", "no ensurepip"])
def test_an_environment_without_pip_gets_one(tmp_path, quick, left):
    """As uv makes them, and as a `python -m venv` that was killed leaves them."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    if left == "half a pip":
        [site] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
        for folder in ("pip", "pip-99.dist-info"):
            (site / folder).mkdir()
        (site / "pip" / "__init__.py").touch()
        (site / "pip-99.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pip\nVersion: 99\n")
    if left == "no ensurepip":
        program(python.with_name("real"), f'exec {sys.executable} "$@"')
        python.unlink()
        program(python, f'case "$*" in *ensurepip*|*pip*) exit 1;; esac\nexec {sys.executable} "$@"')
    told = set_up(tmp_path, PYTHON=quick, **OFFLINE)
    assert "installing pinned packages" in sentence(told)
    subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True)


@pytest.mark.slow
def test_a_python_without_ensurepip_says_what_to_install_each_time(tmp_path, quick):
    """Debian without python3-venv: an environment is begun, and then there is no pip for it."""
    python = program(
        tmp_path / "python3",
        f"""
if [ "$2" = venv ]; then {sys.executable} "$@" --without-pip; echo 'The virtual environment was not created successfully because ensurepip is not
available.'; exit 1; fi
exec {sys.executable} "$@\"""",
    )
    broken = 'case "$*" in *ensurepip*|*pip._int*) exit 1;; esac\n'
    for _again in range(2):
        told = sentence(set_up(tmp_path, PYTHON=str(python), **OFFLINE))
        assert "has no ensurepip" in told and "apt-get install python3-venv" in told
        program(tmp_path / "venv" / "bin" / "python", f'{broken}exec {sys.executable} "$@"')
    assert "installing pinned packages" in sentence(set_up(tmp_path, PYTHON=quick, **OFFLINE))


@pytest.mark.slow  # makes an environment
def test_the_disk_that_is_asked_is_the_one_of_the_environment(tmp_path, quick):
    program(
        tmp_path / "bin" / "df",
        f'case "$*" in *{tmp_path}/large*) free=90000000;; *) free=1200000;; esac\necho a b c d; echo x 9 9 $free',
    )
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHON": quick}
    (tmp_path / "large").mkdir()
    assert "only 1 GB are free here" in sentence(set_up(tmp_path, **path))
    assert "installing" in sentence(
        set_up(tmp_path, **path | {"VENV_DIR": str(tmp_path / "large" / "a" / "venv")}, **OFFLINE)
    )


def test_no_right_to_write_is_said(tmp_path):
    (tmp_path / "shut").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path / "shut"], capture_output=True).returncode:
        pytest.skip("a disk that is only read needs the right to mount")
    program(tmp_path / "bin" / "df", "echo a b c d; echo x 9 9 90000000")
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHON": sys.executable}
    try:
        told = sentence(set_up(tmp_path, VENV_DIR=str(tmp_path / "shut" / "a" / "venv"), **path))
    finally:
        subprocess.run(["umount", tmp_path / "shut"], check=True)
    assert told == f"you may not write in {tmp_path}/shut: set VENV_DIR to a folder of your own."


CONF = "[global]\nuser = true\nindex-url = https://mirror/simple\n[install]\nprefix = /tmp/elsewhere\nno-deps = true\n"


@pytest.mark.parametrize(
    ("variables", "aside"),
    [
        ({"PIP_USER": "1"}, "PIP_USER"),
        ({"PIP_TARGET": "/x", "PIP_PREFIX": "/x", "PIP_ROOT": "/x"}, "PIP_PREFIX, PIP_ROOT, PIP_TARGET"),
        ({"PIP_REQUIRE_VIRTUALENV": "true", "PIP_NO_DEPS": "1"}, "PIP_NO_DEPS, PIP_REQUIRE_VIRTUALENV"),
        ({"PIP_PYTHON": sys.executable, "PIP_DRY_RUN": "1"}, "PIP_DRY_RUN, PIP_PYTHON"),
        ({"PIP_USER": "0"}, ""),
        ({"PIP_CONFIG_FILE": "conf"}, "no-deps of pip.conf, prefix of pip.conf, user of pip.conf"),
    ],
)
def test_settings_of_pip_that_send_packages_elsewhere_are_left_aside_and_named(environment, tmp_path, variables, aside):
    if "PIP_CONFIG_FILE" in variables:
        variables = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
        (tmp_path / "pip.conf").write_text(CONF)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    clean |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "/a b", **variables}
    code = '. <(sed "/^cd /d; /^case /,\\$d" setup_kernel.sh); eval "$("$PYTHON" setup_kernel.py pip)"; "$PYTHON" -m pip config list'
    clean["PYTHON"] = str(environment / "bin/python")
    shown = subprocess.run(
        ["bash", "-c", code, str(ROOT / "setup_kernel.sh")], env=clean, cwd=ROOT, capture_output=True, text=True
    )
    told = [line for line in shown.stdout.splitlines() if "Left aside" in line]
    assert told == ([f"Left aside, as settings of this machine's pip: {aside}."] if aside else []), shown.stderr
    settings = {line.partition("=")[0].removeprefix(":env:.") for line in shown.stdout.splitlines() if "=" in line}
    assert "find-links" in settings and ("index-url" in settings) == ("pip.conf" in aside)
    assert not settings & {"user", "target", "prefix", "root", "require-virtualenv", "no-deps", "python", "dry-run"}


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        (
            {
                "PIP_INDEX_URL": "https://a/simple",
                "PIP_EXTRA_INDEX_URL": "https://b/x\nhttps://c/y",
                "PIP_CERT": "/c.pem",
            },
            {"UV_DEFAULT_INDEX": "https://a/simple", "UV_INDEX": "https://b/x https://c/y", "SSL_CERT_FILE": "/c.pem"},
        ),
        ({"PIP_FIND_LINKS": "/a /b", "PIP_NO_INDEX": "1"}, {"UV_FIND_LINKS": "/a,/b", "UV_NO_INDEX": "1"}),
        ({"PIP_CACHE_DIR": "/kept", "UV_INDEX": "https://other"}, {"UV_CACHE_DIR": "/kept/uv", "UV_INDEX": ""}),
        ({"PIP_PROXY": "http://p:1", "PIP_INDEX_URL": "https://a"}, {"UV_NO_CONFIG": "", "UV_DEFAULT_INDEX": ""}),
        ({"PIP_CLIENT_CERT": "/x"}, {"UV_NO_CONFIG": ""}),
        ({"PIP_FIND_LINKS": "", "PIP_BREAK_SYSTEM_PACKAGES": "1"}, {"UV_NO_CONFIG": "1", "UV_FIND_LINKS": ""}),
    ],
)
def test_uv_takes_packages_from_where_pip_would_or_is_not_asked(environment, variables, wanted):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SSL_"))}
    code = 'say() { :; }; eval "$("$0" setup_kernel.py pip)"; env'
    shown = subprocess.run(
        ["bash", "-c", code, environment / "bin/python"],
        env=clean | {"PIP_CONFIG_FILE": "/dev/null"} | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    settings = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    assert {name: settings.get(name, "") for name in wanted} == wanted, shown.stderr


def test_settings_of_pip_that_cannot_be_read(environment, tmp_path):
    (tmp_path / "pip.conf").write_text("[glob\nuser")
    told = sentence(set_up(tmp_path, VENV_DIR=str(environment), PIP_CONFIG_FILE=str(tmp_path / "pip.conf")))
    assert told.startswith("pip cannot read its settings on this machine: ")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"https_proxy": "http://127.0.0.1:9"}, "the proxy cannot be used (https_proxy)"),
        ({"ALL_PROXY": "socks://127.0.0.1:9"}, "the proxy cannot be used (ALL_PROXY)"),
        ({"PIP_PROXY": "http://127.0.0.1:9"}, "the proxy cannot be used (PIP_PROXY)"),
        ({"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, "the package index cannot be reached"),
        ({"PIP_INDEX_URL": "https://no.such.host.invalid/simple"}, "the package index cannot be reached"),
    ],
)
def test_why_packages_do_not_come(environment, tmp_path, variables, told):
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("PIP_") and "PROXY" not in name.upper()
    }
    clean |= {
        "VENV_DIR": str(environment),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "3",
        **variables,
    }
    code = '. <(sed "/^cd /d; /^case /,\\$d" setup_kernel.sh); settle_pip; install it no-such-package-of-ours'
    shown = subprocess.run(
        ["bash", "-c", code, str(ROOT / "setup_kernel.sh")], env=clean, cwd=ROOT, capture_output=True, text=True
    )
    assert told in sentence(shown) and "127.0.0.1" not in shown.stderr, shown.stdout + shown.stderr


def kernels(environment, home, *arguments, **variables):
    variables = {**os.environ, "HOME": str(home), "JUPYTER_DATA_DIR": str(home / "jupyter"), **variables}
    command = [environment / "bin" / "python", "setup_kernel.py", "kernel", *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


def test_the_kernel_keeps_its_env_and_says_whose_it_was(environment, tmp_path):
    own = environment / "share/jupyter/kernels/qlora/kernel.json"
    users = tmp_path / "jupyter/kernels/qlora/kernel.json"
    assert kernels(environment, tmp_path, "--user").returncode == 0
    there = json.loads(own.read_text())
    own.write_text(json.dumps(there | {"env": {"QLORA_RUNS_DIR": "/workspace/class/kim"}}))
    shutil.rmtree(users.parent)  # drill 1 of the workshop kit
    assert kernels(environment, tmp_path, "--user").stdout == ""
    for file in (own, users):
        assert json.loads(file.read_text())["env"]["QLORA_RUNS_DIR"] == "/workspace/class/kim"
    users.write_text(json.dumps(there | {"argv": ["/other/bin/python"], "env": {"QLORA_RUNS_DIR": "/other"}}))
    assert "was that of /other/bin/python" in kernels(environment, tmp_path, "--user").stdout
    assert json.loads(users.read_text())["env"]["QLORA_RUNS_DIR"] == "/workspace/class/kim"
    for damage in ("{", "[]", '{"argv": []}'):
        own.write_text(damage)
        assert kernels(environment, tmp_path, "--user").returncode == 0 and "argv" in json.loads(own.read_text())


def test_no_home_costs_the_users_kernel_alone(environment, tmp_path):
    told = kernels(environment, tmp_path, "--user", JUPYTER_DATA_DIR="/proc/none")
    assert told.returncode == 0 and "only the environment's own JupyterLab has the kernel QLoRA" in told.stdout


def test_root_is_told_how_jupyterlab_starts(tmp_path):
    code = '. <(sed "/^cd /d; /^case /,\\$d" setup_kernel.sh); jupyter_lab notebooks'
    shown = subprocess.run(
        ["bash", "-c", code, str(ROOT / "setup_kernel.sh")],
        cwd=ROOT,
        env={**os.environ, "VENV_DIR": "/a b"},
        capture_output=True,
        text=True,
    )
    assert shown.stdout == r"/a\ b/bin/jupyter lab" + (" --allow-root" if os.geteuid() == 0 else "") + " notebooks"


def test_unknown_option(tmp_path):
    result = set_up(tmp_path, "--fast")
    assert (
        result.returncode == 1
        and "'--fast' is no option: use no option, --run [PRESET], --test, --here, --korean, --present or --canary."
        in result.stderr
    )


LIMITS = {  # files of a control group, this process's groups -> how many threads; None: as many as torch takes
    "none": ({"cpu.max": "max 100000"}, "0::/", None),
    "half a core": ({"cpu.max": "50000 100000"}, "0::/", "1"),
    "one core": ({"cpu.max": "100000 100000"}, "0::/", "1"),
    "more than there are": ({"cpu.max": "6400000 100000"}, "0::/", None),
    "in a group of its own": ({"a/b/cpu.max": "100000 100000", "cpu.max": "max 100000"}, "0::/a/b", "1"),
    "in a group around it": ({"a/b/cpu.max": "max 100000", "a/cpu.max": "100000 100000"}, "0::/a/b", "1"),
    "the path is the host's": ({"cpu.max": "100000 100000"}, "0::/docker/1f2e", "1"),
    "of another group": ({"c/cpu.max": "100000 100000", "a/cpu.max": "max 100000"}, "0::/a", None),
    "old: half of a core": ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", "1"),
    "old: two in one": (
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "100000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        "5:memory:/a\n4:cpu,cpuacct:/a",
        "1",
    ),
    "old: none": ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", None),
    "old: another controller": ({"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "2"}, "4:cpuset:/", None),
    "no control group": ({}, "", None),
    "not to be read": ({"cpu.max": "?"}, "0::/", None),
}


@pytest.mark.parametrize(("files", "groups", "count"), LIMITS.values(), ids=LIMITS)
def test_threads_are_those_that_the_container_may_use(tmp_path, monkeypatch, files, groups, count):
    import setup_kernel

    monkeypatch.setattr(setup_kernel.os, "sched_getaffinity", lambda pid: {0, 1})
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "groups").write_text(groups)
    env = setup_kernel.threads(tmp_path, tmp_path / "groups")
    assert env.get("OMP_NUM_THREADS") == count and ("OMP_WAIT_POLICY" in env) is (count is not None)
    assert env["GOMP_SPINCOUNT"] == "1000" and env["MALLOC_ARENA_MAX"] == "2"


@pytest.mark.parametrize("gpu", [False, True])
def test_torchs_compiler_stays_out_where_there_is_no_gpu(monkeypatch, gpu):
    import setup_kernel

    monkeypatch.setattr(setup_kernel.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if gpu else None)
    kept = setup_kernel.threads()
    assert ("TORCHDYNAMO_DISABLE" in kept) is not gpu
    code = "import sys, bitsandbytes; sys.exit('torch._inductor.compile_fx' in sys.modules)"
    assert gpu or subprocess.run([sys.executable, "-c", code], env=os.environ | kept).returncode == 0


def test_menus_in_korean_and_large_letters_do_not_undo_each_other(tmp_path):
    for option in ("korean", "present"):
        subprocess.run([sys.executable, ROOT / "setup_kernel.py", option, tmp_path], check=True)
    file = tmp_path / "share/jupyter/lab/settings/overrides.json"
    plugins = json.loads(file.read_text())
    assert plugins["@jupyterlab/translation-extension:plugin"] == {"locale": "ko_KR"}
    assert plugins["@jupyterlab/apputils-extension:themes"]["overrides"]["content-font-size1"] == "20px"
    assert "60 *" in (tmp_path / "etc/present/custom/custom.css").read_text()
