import pytest

from helpers.settings import RunConfig


@pytest.fixture
def recipe() -> RunConfig:
    return RunConfig.load("llama2-7b")
