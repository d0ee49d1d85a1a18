"""A dated line for COMPATIBILITY.md: the versions of this environment, and how the tests went in it.

bash setup_kernel.sh --canary    makes the environment, runs the tests, and calls this: python -m tests.canary RESULTS.xml
"""

import datetime
import importlib.metadata
import re
import sys
import xml.etree.ElementTree
from pathlib import Path

from tests.conftest import ROOT

HEAD = """# Compatibility

The pinned versions in requirements.txt are the ones that everything was measured with. `bash setup_kernel.sh --canary` runs
the same tests with the newest releases, and adds a line here. What broke, and why, is added by hand.

| date | Python | what is newer than its pin | passed | failed | what broke |
|---|---|---|---|---|---|
"""


def newer() -> list[str]:
    """The packages of requirements.txt whose version here is not the pinned one."""
    pins = re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    found = {name: importlib.metadata.version(name) for name, _ in pins}
    return [f"{name} {found[name]} (pin {pin})" for name, pin in pins if found[name] != pin]


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
    page = ROOT / "COMPATIBILITY.md"
    before = page.read_text(encoding="utf-8") if page.exists() else HEAD
    page.write_text(before + line(Path(sys.argv[1])), encoding="utf-8")
    print(f"A line was added to {page.name}.")
