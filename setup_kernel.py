"""What setup_kernel.sh asks Python: of the interpreter that it looks at (kind), and of the environment that it has
made.

python setup_kernel.py kind FROM BEFORE    cuda, old:VERSION or plain; status 1 below Python 3.11
python setup_kernel.py pip                 lines for the shell: the machine's settings of pip that stay, and those left
aside
python setup_kernel.py kernel [--user]     installs the Jupyter kernel "qlora"
python setup_kernel.py managed             a line where the system's own packages own this interpreter
python setup_kernel.py torch               the version of torch that is there, if it is one that stays
python setup_kernel.py constraints FILE    its lines and the torch that stays, without what that torch wants otherwise
python setup_kernel.py home                a folder of this interpreter's own that may be written
python setup_kernel.py packages            where its pip puts packages
python setup_kernel.py link FOLDER         lets this interpreter import what is in FOLDER
python setup_kernel.py tests               the packages that only the tests need
python setup_kernel.py changes BEFORE      what another `pip freeze` (standard input) changed, in one line
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

# Of a machine's settings of pip, those of where packages come from, and which may not be taken. All others would send
# them elsewhere, or change what is installed.
STAY = "constraint index-url extra-index-url find-links no-index trusted-host cert client-cert proxy timeout "
STAY += "default-timeout retries cache-dir no-cache-dir keyring-provider break-system-packages"
HARMLESS = "config-file disable-pip-version-check progress-bar no-input no-color quiet verbose root-user-action"

# The same for uv, which reads none of pip's. With any other setting that stays, pip installs.
UV = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}
UV |= {"no-index": "UV_NO_INDEX", "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE"}
UV |= {"constraint": "UV_CONSTRAINT", "cache-dir": "UV_CACHE_DIR", "timeout": "UV_HTTP_TIMEOUT"}
UV |= {"default-timeout": "UV_HTTP_TIMEOUT", "retries": "UV_HTTP_RETRIES"}
# as pip: the newest of all indexes, the certificates of the system, no settings of a project
UV_ALWAYS = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1", "UV_NO_CONFIG": "1"}

N_ = str  # marks a sentence for the catalogue
ASIDE = N_("Left aside, as settings of this machine's pip: {names}.")

PRESENT = """\
.jp-Notebook .jp-Cell { max-width: calc(60 * var(--jp-content-font-size1)); margin-left: auto; margin-right: auto; }
.jp-OutputArea ::-webkit-scrollbar { height: 14px; }
.jp-OutputArea ::-webkit-scrollbar-thumb { background: #6e7781; border-radius: 7px; }
"""


def kind(first, end):
    """Which torch the interpreter has; torch itself is not imported."""
    spec = importlib.util.find_spec("torch")
    text = Path(spec.origin).with_name("version.py").read_text() if spec and spec.origin else ""
    found = re.search(r"^__version__\b.*=\s*['\"](\d+)\.(\d+)([^'\"]*)", text, re.M)
    if not re.search(r"^cuda\b.*=\s*['\"]", text, re.M):
        return "plain"
    if not found or version(first) <= (int(found[1]), int(found[2])) < version(end):
        return "cuda"
    return f"old:{found[1]}.{found[2]}{found[3]}"


def version(text):
    return tuple(int(part) for part in text.split("."))


def pip():
    """What pip itself has read from its files and from the environment; the later one counts. (`pip config list` leaves
    out the file that PIP_CONFIG_FILE names.)"""
    from pip._internal.configuration import Configuration
    from pip._internal.exceptions import PipError

    read = Configuration(isolated=False)
    try:
        read.load()
    except PipError as error:
        sys.exit(str(error).splitlines()[0])
    settings = []
    for key, value in read.items():
        settings += value.items() if isinstance(value, dict) else [(key, value)]  # newer ones say by which file
    stay, aside = {}, set()
    for key, value in settings:
        name = key.rpartition(".")[2]
        variable = "PIP_" + name.upper().replace("-", "_")
        if name in STAY.split():
            stay[variable] = value
        elif name not in HARMLESS.split() and value.lower() not in ("", "0", "false", "no", "off"):
            aside.add(variable if key.startswith(":env:") else f"{name} of pip.conf")
    lines = [f"unset {name}" for name in os.environ if re.fullmatch(r"(PIP|UV)_\w+", name)]
    exports = stay | {"PIP_CONFIG_FILE": "/dev/null"} | uv(stay)
    lines += [f"export {variable}={shlex.quote(value)}" for variable, value in exports.items()]
    if aside:
        names = shlex.quote(", ".join(sorted(aside)))
        lines.append(f'say "{ASIDE}" names={names}')
    return "\n".join(lines)


def uv(stay):
    """`stay`, settings of pip by variable, for uv; none where it cannot do the same."""
    names = {variable.removeprefix("PIP_").lower().replace("_", "-"): value for variable, value in stay.items()}
    names = {name: value for name, value in names.items() if value}
    if names.keys() - UV.keys() - {"break-system-packages"}:
        return {}
    settings = {UV[name]: " ".join(value.split()) for name, value in names.items() if name in UV}
    if "UV_FIND_LINKS" in settings:
        settings["UV_FIND_LINKS"] = settings["UV_FIND_LINKS"].replace(" ", ",")
    if "UV_CACHE_DIR" in settings:
        settings["UV_CACHE_DIR"] += "/uv"
    return UV_ALWAYS | settings


def threads(root="/sys/fs/cgroup", groups="/proc/self/cgroup"):
    """Variables that are read once, before torch is imported. Threads that wait give their core away, and in a
    container with a quota there are no more of them than it has cores. Eight passes of 30 layers on two busy cores (AMD
    EPYC, 2026-11-29): 35.9 s as it comes, 27.1 with 100,000 spins, 6.0 with 10,000, 1.9 with 1,000, 1.0 passive; alone,
    passive costs 20 % (proofs/bench_threads.py). All threads allocate from two places, for one of its own gives memory
    back and asks for it again at each step: the first look's 20 steps in a kernel (2-core Intel Xeon, 2026-12-01) took
    38.6 s, 28 of them the system's, and with two places 24.3 and 3. Without a GPU nothing is compiled: the compiler,
    which bitsandbytes asks for as it is imported (1.2 s a page), stays out."""
    quota = _quota(Path(root), Path(groups).read_text()) if Path(groups).exists() else None
    env = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1", "MALLOC_ARENA_MAX": "2"}
    if not shutil.which("nvidia-smi"):
        env["TORCHDYNAMO_DISABLE"] = "1"
    if quota is not None and quota < len(os.sched_getaffinity(0)):
        env |= {"OMP_NUM_THREADS": str(max(1, int(quota))), "OMP_WAIT_POLICY": "PASSIVE"}
    return env


def _quota(root, groups):
    """The fewest cores that a control group around this process (version 2 or 1) leaves it; None without a limit."""
    limits = []
    for line in groups.splitlines():
        _number, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            top = root / controllers  # "" in version 2
            below = top / path.lstrip("/")  # a path of the host where the container sees its own group as the top
            limits += [_limit(group) for group in (below, *below.parents) if group.is_relative_to(top)]
    return min((limit for limit in limits if limit), default=None)


def _limit(group):
    """Cores of one control group; 0 without a limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            limit, period = " ".join((group / name).read_text() for name in names).split()
            return max(0, int(limit) / int(period)) if limit != "max" else 0
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return 0


def managed():
    """The file of PEP 668, where it is."""
    import sysconfig

    mark = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    return mark if mark.exists() and sys.prefix == sys.base_prefix else ""


def torch():
    """Older ones than transformers takes do not stay."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        found = installed("torch")
    except PackageNotFoundError:
        return ""
    return found if tuple(map(int, re.findall(r"\d+", found)[:2])) >= (2, 6) else ""


def constraints(file):
    """What no version can do for both: torch 2.6 asks for sympy 1.13.1 itself."""
    from importlib.metadata import requires

    from pip._vendor.packaging.requirements import Requirement

    lines, stays = Path(file).read_text(encoding="utf-8").splitlines(), torch()
    if not stays:
        return "\n".join(lines)
    wants = [Requirement(text) for text in requires("torch") or ()]
    asked = {want.name: want.specifier for want in wants if not want.marker or want.marker.evaluate({"extra": ""})}
    pins = [line.partition("==") for line in lines]
    kept = ["".join(pin) for pin in pins if pin[0] not in asked or asked[pin[0]].contains(pin[2])]
    return "\n".join([f"torch=={stays}", *kept])


def home():
    """As pip chooses: the interpreter's own folder, else the user's."""
    import site

    return sys.prefix if os.access(sys.prefix, os.W_OK) else site.getuserbase()


def packages():
    """As pip chooses: the interpreter's own, else the user's."""
    import site
    import sysconfig

    place = Path(sysconfig.get_path("purelib"))
    if not os.access(place, os.W_OK):
        place = Path(site.getusersitepackages())
        place.mkdir(parents=True, exist_ok=True)
    return place


def link(folder):
    """What `pip install --editable` does, in no time and without a file in the folder. Its name comes before those of
    other links."""
    (packages() / "00-qlora-notebooks.pth").write_text(f"{folder}\n", encoding="utf-8")
    return ""


def tests():
    import tomllib

    told = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    return " ".join(told["project"]["optional-dependencies"]["test"])


def changes(before):
    """Packages of this interpreter that are others now."""
    from helpers.show.words import _

    old, new = (
        dict(line.strip().split("==", 1) for line in lines if "==" in line)
        for lines in (Path(before).read_text().splitlines(), sys.stdin)
    )
    other = [f"{name} {old[name]} -> {new[name]}" for name in sorted(old.keys() & new.keys()) if old[name] != new[name]]
    added = len(new.keys() - old.keys())
    told = _("Ready: {added} packages were added.").format(added=added)
    changed = _("{count} changed ({names}): restart the kernel before you go on.")
    return told + (" " + changed.format(count=len(other), names=", ".join(other)) if other else "")


def lab(place, **settings):
    """JupyterLab's defaults in an environment: `settings` by plugin beside those that an earlier option has set."""
    file = Path(place, "share", "jupyter", "lab", "settings", "overrides.json")
    there = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(there | settings, indent=1) + "\n", encoding="utf-8")
    return ""


def korean(place):
    """JupyterLab's menus in Korean."""
    return lab(place, **{"@jupyterlab/translation-extension:plugin": {"locale": "ko_KR"}})


def present(place):
    """JupyterLab for a projector: large letters, lines of 60 em, and tables that show their scroll bar."""
    sizes = {"code-font-size": "20px", "content-font-size1": "20px", "ui-font-size1": "16px"}
    style = Path(place, "etc", "present", "custom", "custom.css")
    style.parent.mkdir(parents=True, exist_ok=True)
    style.write_text(PRESENT, encoding="utf-8")
    return lab(place, **{"@jupyterlab/apputils-extension:themes": {"overrides": sizes}})


def kernel(*where):
    """In the environment for scripts and tests, and for the user, so that a pod's own JupyterLab lists it. The `env` of
    the kernel that was there stays: pod.sh has set it. On a pod, downloads belong on the volume, which outlives the
    container."""
    from ipykernel.kernelspec import install
    from jupyter_core.paths import jupyter_data_dir

    from helpers.show.words import _

    env = {name: value for name, value in threads().items() if name not in os.environ}
    if os.access("/workspace", os.W_OK):
        env["HF_HOME"] = os.environ.get("HF_HOME", "/workspace/.cache/huggingface")
    places = {"sys": Path(sys.prefix, "share", "jupyter")}
    try:
        places |= {"user": Path(jupyter_data_dir())} if where else {}
    except RuntimeError:  # no home folder
        print(_("This account has no home folder, so that only the environment's own JupyterLab has the kernel QLoRA."))
    for place in places.values():
        try:
            there = json.loads((place / "kernels" / "qlora" / "kernel.json").read_text(encoding="utf-8"))
            owner = there["argv"][0]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if Path(owner).parent.resolve() == Path(sys.executable).parent.resolve():
            env |= there.get("env", {})
        else:
            print(_("The kernel QLoRA was that of {owner}: it is this environment's now.").format(owner=owner))
    for name, place in places.items():
        try:
            prefix = None if name == "user" else sys.prefix
            install(user=name == "user", prefix=prefix, kernel_name="qlora", display_name="QLoRA", env=env)
        except OSError as error:
            if name == "sys" and (place / "kernels" / "qlora" / "kernel.json").exists():
                continue  # somebody else's environment, which has it
            if name == "sys":
                told = _("the kernel cannot be written in {place} ({reason})")
                sys.exit(told.format(place=place, reason=error.strerror))
            told = _(
                "{place} cannot be written ({reason}): only the environment's own JupyterLab has the kernel QLoRA."
            )
            print(told.format(place=place, reason=error.strerror))
    return ""


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  it is asked of any Python
        sys.exit(1)
    told = globals()[sys.argv[1]](*sys.argv[2:])
    print(told, end="\n" if told else "")
