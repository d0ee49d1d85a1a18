"""Does setup_kernel.sh need anything that a bare Debian does not have? By hand, as root, with the package mmdebstrap:

    python -m proofs.proof_bare_root FOLDER PART ... [--suite noble --keyring FILE]

FOLDER becomes a root file system with python3, python3-venv, python3-pip, certificates and libstdc++ alone: no git.

set-up    `setup_kernel.sh`, and once more
here      `setup_kernel.sh --here` as root, then the first look of the demo in that Python
user      the same as somebody who may only write below /home/reader
torch     the same as root, with torch 2.6.0 in place, the oldest that stays
image     the RUN lines of the Dockerfile, one after the other

2026-11-30, 2-core AMD EPYC. With other work beside it: Debian 12 (Python 3.11.2) in 22 s, the set-up in 131 s with the
CUDA build of torch (6.4 GB), once more in 1 s; helpers, torch 2.13.0 and TRL 1.16.0 can be imported there.
On a 2-core Intel Xeon, with five times as much work as cores beside it: `here` on Debian 12, the first look of the demo
to its end (822 s of CPU, 1645 s); `user` in the same root, where root's packages are, that of tiny (148 s of CPU);
`image` on Ubuntu 24.04, Python 3.12.3, all three RUN lines (47, 28 and 0 s of CPU).
On a 2-core AMD EPYC with AVX2 alone, three times as much work as cores beside it, QLORA_PRESET=tiny: `torch` on Debian
12: torch 2.6.0+cu124 stays, 172 packages in 361 s (164 s of CPU), the first look of tiny to its end (609 s, 360 s of
CPU); `user` without root's packages: 200 in 552 s (189 s of CPU), torch 2.13.0+cu130, the first look of tiny to its end
(399 s, 332 s of CPU). The same machine beside the tests: `here` on Ubuntu 24.04, Python 3.12.3: 206 packages in 287 s
(169 s of CPU), torch 2.13.0+cu130, the first look of tiny to its end (180 s, 190 s of CPU).
Found and mended: a pin that Python 3.11.2 cannot have (soupsieve); PIP_BREAK_SYSTEM_PACKAGES=1, which --here itself
advises, was left aside; torch 2.6 asks for sympy 1.13.1 where the pins have 1.14.0, so that nothing was installed.
"""

import argparse
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,libstdc++6"  # the last one comes with Debian's apt already
HERE = ("LANG", "QLORA_PRESET", "PIP_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
PLACES = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")  # the network of this machine
CHECK = "import helpers, torch, trl; print(torch.__version__, trl.__version__)"
FIRST_LOOK = "-m papermill -k python3 --cwd {0}/notebooks {0}/notebooks/00_first_look.ipynb {1}/first.ipynb"


class Bare:
    """The root file system in `folder`, and commands in it."""

    def __init__(self, folder: Path, suite: str, keyring: str):
        self.folder = folder
        how = ["--variant=minbase", f"--include={PACKAGES}"]
        how += ["--components=main,universe", f"--keyring={keyring}"] if keyring else []
        if not folder.exists():
            self.timed("root", ["mmdebstrap", *how, suite, str(folder)])
        for name in filter(os.path.exists, PLACES):
            shutil.copy(name, str(folder) + name)

    def timed(self, what: str, command: list[str], **more) -> None:
        """Run `command`; wall and CPU seconds. Raises CalledProcessError where it fails."""
        begin, before = time.monotonic(), os.times()
        subprocess.run(command, check=True, **more)
        used = sum(os.times()[2:4]) - sum(before[2:4])
        print(f"{what}: {time.monotonic() - begin:.0f} s, {used:.0f} s of CPU", flush=True)

    def run(self, what: str, *command: str, user: str = "0", **variables: str) -> None:
        home = "/root" if user == "0" else "/home/reader"
        environment = {name: os.environ[name] for name in HERE if name in os.environ} | {"HOME": home, **variables}
        environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
        inside = ["chroot", f"--userspec={user}:{user}", str(self.folder), *command]
        self.timed(what, inside, env=environment)

    def project(self, place: str, user: int = 0) -> str:
        """This project as its own files, without git, in a new folder `place` of `user`."""
        shutil.rmtree(str(self.folder) + place, ignore_errors=True)
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\n")):
            target = Path(str(self.folder) + place, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        if user:
            subprocess.run(["chown", "-R", f"{user}:{user}", str(self.folder) + str(Path(place).parent)], check=True)
        return place


def set_up(bare: Bare) -> None:
    place = bare.project("/project")
    for what in ("set-up", "again"):
        bare.run(what, "bash", f"{place}/setup_kernel.sh")
    bare.run("imports", f"{place}/.venv/bin/python", "-c", CHECK)


def here(bare: Bare, user: int = 0, torch: str = "") -> None:
    """As on a host that has its own Python. Debian's belongs to its packages, so that it has to be allowed."""
    home = "/home/reader" if user else "/root"
    place, who, allowed = bare.project(f"{home}/project", user), str(user), {"PIP_BREAK_SYSTEM_PACKAGES": "1"}
    if torch:
        bare.run("older torch", "python3", "-m", "pip", "install", "-q", f"torch=={torch}", user=who, **allowed)
    bare.run("--here", "bash", f"{place}/setup_kernel.sh", "--here", user=who, **allowed)
    bare.run("imports", "python3", "-c", CHECK, user=who)
    bare.run("first look", "python3", *FIRST_LOOK.format(place, home).split(), user=who)


def image(bare: Bare) -> None:
    """The Dockerfile from its WORKDIR on: ENV, then each RUN."""
    told = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    [place] = re.findall(r"^WORKDIR (.+)", told, re.M)
    variables = dict(re.findall(r"(\w+)=(\S+)", re.search(r"^ENV (.+)", told, re.M)[1]))
    bare.project(place)
    for number, line in enumerate(re.findall(r"^RUN (.+)", told, re.M), start=1):
        bare.run(f"RUN {number}", "bash", "-o", "pipefail", "-c", f"cd {place} && {line}", **variables)


PARTS: dict[str, Callable[[Bare], None]] = {
    "set-up": set_up,
    "here": here,
    "user": lambda bare: here(bare, user=1000),
    "torch": lambda bare: here(bare, torch="2.6.0"),
    "image": image,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--keyring", default="", help="of another distribution's archive, as Ubuntu's for noble")
    arguments = parser.parse_args()
    bare = Bare(arguments.folder, arguments.suite, arguments.keyring)
    for what in (["--bind", "/dev", "dev"], ["-t", "proc", "proc", "proc"]):
        subprocess.run(["mount", *what[:-1], str(bare.folder / what[-1])], check=True)
    try:
        for part in arguments.parts:
            print(f"== {part}", flush=True)
            PARTS[part](bare)
    finally:
        subprocess.run(["umount", str(bare.folder / "dev"), str(bare.folder / "proc")], check=True)


if __name__ == "__main__":
    main()
