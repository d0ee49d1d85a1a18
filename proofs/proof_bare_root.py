"""Does setup_kernel.sh need anything that a bare Debian does not have? In a root file system with python3, python3-venv
and certificates alone. Run by hand, as root (apt-get install mmdebstrap):

    python -m proofs.proof_bare_root FOLDER

2026-11-30, 2-core AMD EPYC with other work beside it: Debian 12 (Python 3.11.2) in 22 s, the set-up in 131 s with the
CUDA build of torch (6.4 GB), once more in 1 s; helpers, torch 2.13.0 and TRL 1.16.0 can be imported there.
The first try had found a pin that Python 3.11.2 cannot have (soupsieve); it carries a marker now.
"""

import argparse
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.conftest import ROOT

HERE = ("PATH", "LANG", "PIP_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
PLACES = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")  # the network of this machine
CHECK = "import helpers, torch, trl; print(torch.__version__, trl.__version__)"


def run(*command: str, **more) -> float:
    """Seconds that a command takes. Raises CalledProcessError where it fails."""
    begin = time.monotonic()
    subprocess.run(command, check=True, **more)
    return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suite", default="bookworm")
    arguments = parser.parse_args()
    folder = arguments.folder
    include = "--include=python3,python3-venv,ca-certificates"
    if not folder.exists():
        print(f"root: {run('mmdebstrap', '--variant=minbase', include, arguments.suite, str(folder)):.0f} s")
    for name in filter(os.path.exists, PLACES):
        shutil.copy(name, str(folder) + name)
    project = folder / "project"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    environment = {"HOME": "/root", **{name: os.environ[name] for name in HERE if name in os.environ}}
    environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    inside = ["chroot", str(folder)]
    run("mount", "--bind", "/dev", str(folder / "dev"))
    run("mount", "-t", "proc", "proc", str(folder / "proc"))
    try:
        for what in ("set-up", "again"):
            print(f"{what}: {run(*inside, 'bash', '/project/setup_kernel.sh', env=environment):.0f} s", flush=True)
        run(*inside, "/project/.venv/bin/python", "-c", CHECK, env=environment)
    finally:
        run("umount", str(folder / "dev"), str(folder / "proc"))


if __name__ == "__main__":
    main()
