"""The house is as it is described: folders list their modules, what is imported is declared, versions stand once."""

import ast
import importlib.metadata
import re
import sys

import pytest

from tests.conftest import ROOT

ROOMS = sorted(path.parent for path in (ROOT / "helpers").glob("*/__init__.py"))
PINNED = re.compile(r"^([\w.-]+)==([^\s\\;]+)", re.M)
BY_HASH = {"xllamacpp", "cyllama", "llama-cpp-py-sync", "kiwipiepy"}  # requirements-serve.txt, requirements-kiwi.txt


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return {normal(name): version for name, version in PINNED.findall(text)}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_the_docstring_of_a_folder_lists_its_modules(room):
    text = (room / "__init__.py").read_text(encoding="utf-8")
    listed = re.findall(r"^(\w+)/?  +\S", text, re.M)
    modules = [path.stem for path in room.glob("*.py") if not path.stem.startswith("__")]
    folders = [path.name for path in room.iterdir() if (path / "__init__.py").exists()]
    assert sorted(listed) == sorted(modules + folders)


def test_all_that_is_imported_is_declared():
    declared = {*pins("requirements.txt"), "torch", *BY_HASH}
    packages = importlib.metadata.packages_distributions()
    for path in (ROOT / "helpers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in {name.partition(".")[0] for name in names} - {"helpers"} - set(sys.stdlib_module_names):
                if name in packages:  # lm_eval and the like are asked for on the page that needs them
                    assert {normal(package) for package in packages[name]} & declared, f"{path.name}: {name}"


def test_what_the_packages_bring_is_pinned_too():
    """So that a number measured today can be measured again: every version that pip would choose stands in a file."""
    pinned = pins("constraints.txt") | pins("requirements.txt")
    own = re.compile(r"torch|nvidia|triton|cuda|setuptools|pip$|wheel$")  # a pod keeps its own

    here = {normal(package.name): package.version for package in importlib.metadata.distributions()}
    every, waiting = set(), list(pins("requirements.txt"))
    while waiting:
        name = waiting.pop()
        if name in here and name not in every and not own.match(name):  # some are for other systems only
            every.add(name)
            lines = [line for line in importlib.metadata.requires(name) or () if "extra ==" not in line]
            waiting += [normal(re.match(r"[\w.-]+", line)[0]) for line in lines]
    missing = {name for name in every if name not in pinned}
    other = {name for name in every & set(pinned) if here[name] != pinned[name]}
    assert not missing and not other, f"not pinned: {missing}; another version is here: {other}"
