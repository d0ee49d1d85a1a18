"""A pod without a pod: `setup_kernel.sh` and notebook 01 in a root file system as a GPU image has it. By hand, as root
or not:

    python -m proofs.proof_pod          about a minute, no network beyond the package index

In a namespace of its own (unshare, chroot): /workspace is another file system, HF_HOME is set, HOME is fresh, the
image's Python has its own JupyterLab and a torch that claims CUDA (this environment's, with another version.py). The
set-up must keep that torch, put its kernel where the image's JupyterLab finds it, and the server must run 01 with it to
the end.

Result of 2026-11-25, 2-core AMD EPYC CPU beside other work: 55 s; the kernel ran in the project's .venv with the
image's torch ("CUDA 12.8"), HF_HOME below /workspace, and all 9 checks of 01 were green.

Not shown by this: a GPU, RunPod's own start script, a network volume.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = """
set -e
mount -t tmpfs tmpfs {root}
for name in $(ls -A /); do
  if [ -L /$name ]; then cp -a /$name {root}/; elif [ -d /$name ] && [ $name != workspace ]; then
    mkdir {root}/$name && mount --rbind /$name {root}/$name; fi
done
mkdir {root}/workspace && mount -t tmpfs -o size=3g tmpfs {root}/workspace
cp -r {project} {root}/workspace/project
exec chroot {root} env -i {variables} {python} /workspace/project/proofs/proof_pod.py inside
"""


def outside() -> int:
    """Make the image and the namespace, and go in."""
    folder = Path(tempfile.mkdtemp(prefix="pod-"))
    image, site = folder / "image", Path(sysconfig.get_path("purelib"))
    (image / "torch").mkdir(parents=True)
    for path in (site / "torch").iterdir():
        if path.name != "version.py":
            (image / "torch" / path.name).symlink_to(path)
    for path in site.iterdir():  # the image has every package but this project
        if path.name != "torch" and "qlora_notebooks" not in path.name:
            (image / path.name).symlink_to(path)
    version = (site / "torch" / "version.py").read_text()
    (image / "torch" / "version.py").write_text(version + "\ncuda: Optional[str] = '12.8'\n")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in filter(None, listed):
        (folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "project" / name)
    (folder / "root").mkdir()
    (folder / "home").mkdir()
    kept = {
        name: os.environ[name] for name in os.environ if name.startswith("PIP_") or name in ("PATH", "QLORA_CACHE_DIR")
    }
    kept |= {"HOME": str(folder / "home"), "HF_HOME": "/workspace/hf", "RUNPOD_POD_ID": "abc", "PYTHON": sys.executable}
    kept |= {"PYTHONPATH": str(image), "QLORA_PRESET": "tiny", "OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "0"}
    variables = " ".join(f"{name}='{value}'" for name, value in kept.items())
    names = {"root": folder / "root", "project": folder / "project", "python": sys.executable, "variables": variables}
    script = OUTSIDE.format(**names)
    return subprocess.run(["unshare", "--map-root-user", "--mount", "--fork", "bash", "-c", script]).returncode


def inside() -> int:
    """In the pod: set up, start the image's JupyterLab, open 01 there with the kernel `qlora`, run its cells."""
    project = Path("/workspace/project")
    done = subprocess.run(["bash", "setup_kernel.sh"], cwd=project, capture_output=True, text=True)
    print(done.stdout + done.stderr, flush=True)
    assert done.returncode == 0 and "with the CUDA build of torch that is already here" in done.stdout
    token, port = secrets.token_hex(16), 18888
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--allow-root",
        "--no-browser",
        f"--port={port}",
        f"--IdentityProvider.token={token}",
    ]
    with open("/tmp/jupyter-of-proof.log", "w") as log:
        server = subprocess.Popen(command, cwd="/workspace", stdout=log, stderr=log)
    try:
        return run_01(f"127.0.0.1:{port}", token, project)
    finally:
        server.terminate()
        server.wait()


def run_01(address: str, token: str, project: Path) -> int:
    import nbformat
    import websocket

    def ask(path: str, body: dict | None = None):
        headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}/api/{path}", data, headers)) as answer:
            return json.load(answer)

    deadline = time.monotonic() + 60
    while True:
        try:
            assert "qlora" in ask("kernelspecs")["kernelspecs"], "the image's JupyterLab does not list the kernel"
            break
        except OSError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.5)
    notebook = "project/notebooks/01_env_setup.ipynb"
    session = ask(
        "sessions", {"path": notebook, "type": "notebook", "name": "01_env_setup.ipynb", "kernel": {"name": "qlora"}}
    )
    url = f"ws://{address}/api/kernels/{session['kernel']['id']}/channels?token={token}"
    socket = websocket.create_connection(url, timeout=180)
    looks = "import sys, os, torch; print('kernel:', sys.prefix, torch.version.cuda, "
    looks += "os.environ['HF_HOME'], os.environ['JPY_SESSION_NAME'])"
    book = nbformat.read(f"/workspace/{notebook}", 4)
    for source in [looks, *(cell.source for cell in book.cells if cell.cell_type == "code")]:
        message = {
            "header": {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": "s"}
        }
        message |= {
            "parent_header": {},
            "metadata": {},
            "channel": "shell",
            "content": {"code": source, "silent": False},
        }
        socket.send(json.dumps(message))
        while True:
            told = json.loads(socket.recv())
            if told["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if told["msg_type"] == "stream":
                print(text := told["content"]["text"], end="", flush=True)
                if text.startswith("kernel:"):
                    assert text.split()[1:4] == ["/workspace/project/.venv", "12.8", "/workspace/hf"], text
            if told["msg_type"] == "execute_reply":
                content = told["content"]
                assert content["status"] == "ok", f"{source}\n{content.get('ename')}: {content.get('evalue')}"
                break
    print("01 ran to its end in the image's JupyterLab, on the kernel qlora.")
    return 0


if __name__ == "__main__":
    sys.exit(inside() if sys.argv[1:] == ["inside"] else outside())
