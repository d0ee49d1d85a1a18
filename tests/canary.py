"""The project with the newest releases; `bash setup_kernel.sh --canary` makes the environment and calls this twice.

python -m tests.canary pin REQUIREMENTS.txt    the file's pins become the versions that are installed here
python -m tests.canary line RESULTS.xml        a dated line for COMPATIBILITY.md: what is newer, and how the tests went
"""

import datetime
import importlib.metadata
import re
import sys
import xml.etree.ElementTree
from pathlib import Path

from tests.conftest import ROOT

HEAD = """# Compatibility

The pinned versions in requirements.txt are the ones that everything was measured with. `bash setup_kernel.sh --canary`
runs the same tests with the newest releases, and adds a line here. What broke, and why, is added by hand.

| date | Python | what is newer than its pin | passed | failed | what broke |
|---|---|---|---|---|---|
"""


PIN = re.compile(r"^([\w-]+)==(\S+)", re.M)


def pin(requirements: Path) -> None:
    """Write the versions that are installed here into the file."""
    text = requirements.read_text(encoding="utf-8")
    requirements.write_text(PIN.sub(lambda found: f"{found[1]}=={importlib.metadata.version(found[1])}", text), "utf-8")


def newer() -> list[str]:
    """The packages of requirements.txt whose version here is not the pinned one."""
    pins = PIN.findall((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    found = {name: importlib.metadata.version(name) for name, _ in pins}
    return [f"{name} {found[name]} (pin {pinned})" for name, pinned in pins if found[name] != pinned]


def line(results: Path) -> str:
    """The row of the table, from pytest's JUnit file."""
    cases = list(xml.etree.ElementTree.parse(results).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = ", ".join(f"`{case.get('classname').removeprefix('tests.')}.{case.get('name')}`" for case in failed)
    python = ".".join(map(str, sys.version_info[:3]))
    today = datetime.date.today().isoformat()
    passed = len(cases) - len(failed) - skipped
    return f"| {today} | {python} | {', '.join(newer()) or 'nothing'} | {passed} | {len(failed)} | {names} |\n"


if __name__ == "__main__":
    what, file = sys.argv[1], Path(sys.argv[2])
    if what == "pin":
        pin(file)
    else:
        page = ROOT / "COMPATIBILITY.md"
        before = page.read_text(encoding="utf-8") if page.exists() else HEAD
        page.write_text(before + line(file), encoding="utf-8")
        print(f"A line was added to {page.name}.")
