"""The house is as it is described: each folder's docstring lists its modules, all of them and no others."""

import re

import pytest

from tests.conftest import ROOT

ROOMS = sorted(path.parent for path in (ROOT / "helpers").glob("*/__init__.py"))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_the_docstring_of_a_folder_lists_its_modules(room):
    text = (room / "__init__.py").read_text(encoding="utf-8")
    listed = re.findall(r"^(\w+)  +\S", text, re.M)
    assert sorted(listed) == sorted(path.stem for path in room.glob("*.py") if path.stem != "__init__")
