"""The files of checks that lie beside the project's data, as modules, and all checks of one as a function."""

import importlib.util

from helpers.evaluate.checks import load_checks
from tests.conftest import ROOT

DATA = ROOT / "notebooks" / "data"


def module(name: str):
    spec = importlib.util.spec_from_file_location(name, DATA / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def all_of(name: str):
    """(messages, reply, reference) -> {check: passed}"""
    checks, _ = load_checks(f"notebooks/data/{name}.py")
    return lambda *row: {check: function(*row) for check, function in checks.items()}
