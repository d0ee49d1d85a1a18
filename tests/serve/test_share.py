"""The page of share.py without a browser (tests/browser/test_share.py has one): what it holds of the data, how it fails."""

import pytest

from helpers.runs import RunDir
from helpers.serve import share
from helpers.settings import RunConfig


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS_DIR", str(tmp_path))
    monkeypatch.setattr(share, "served_context", lambda *_: 512)
    monkeypatch.setattr("transformers.utils.logging.disable_progress_bar", lambda: None)  # for this whole process
    run, config = RunDir(tmp_path / "tiny"), RunConfig.load("tiny")
    (run.path / "share").mkdir(parents=True)
    for name in ("base.gguf", "tuned.gguf"):
        (run.path / "share" / name).write_bytes(b"x")
    run.config_json.write_text(config.to_json())
    return run


@pytest.mark.parametrize("takes", [True, False], ids=["a system turn", "none: it stands in the question"])
def test_a_system_text_of_one_row_stays_here(run, monkeypatch, takes):
    """What all rows are told is how the model is asked; what one row is told is that row's data."""
    monkeypatch.setattr(share, "takes_system", lambda _: takes)

    def page(*systems):
        turns = [[{"role": "system", "content": s}] * bool(s) + [{"role": "user", "content": "q"}] for s in systems]
        return share._page(run, run.stored_config(), None, turns, False)

    assert "Answer briefly" in page("Answer briefly", "Answer briefly")
    for systems in (("Patient Kim", "Patient Lee"), ("Patient Kim", "")):
        assert "Patient Kim" not in page(*systems)


@pytest.mark.parametrize("text", [None, "no votes\nat all\n"], ids=["missing", "a letter"])
def test_votes_that_cannot_be_read_are_named(run, monkeypatch, capsys, text):
    file = run.path / "votes-of-a-friend.jsonl"
    if text:
        file.write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["share", "tiny", "--votes", str(file)])
    assert share.main() == 1 and file.name in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError, ModuleNotFoundError])
def test_what_the_converter_says_is_said(run, monkeypatch, capsys, error):
    def fail(*_):
        raise error("llama.cpp's convert_hf_to_gguf.py does not convert this")

    monkeypatch.setattr(share, "share", fail)
    monkeypatch.setattr("sys.argv", ["share", "tiny"])
    assert share.main() == 1 and "does not convert this" in capsys.readouterr().err
