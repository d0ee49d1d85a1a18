"""docs/settings.md says what the settings say."""

import pytest

from docs.make_settings import STAGES, page
from helpers.fields import Stage
from tests.conftest import ROOT


@pytest.mark.parametrize("language, name", [("en", "settings.md"), ("ko", "settings.ko.md")])
def test_the_page_is_the_one_that_its_command_makes(monkeypatch, language, name):
    monkeypatch.setenv("QLORA_LANG", language)
    made = page()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == made, "python -m docs.make_settings"


def test_each_stage_has_a_section():
    assert set(STAGES) == set(Stage)
