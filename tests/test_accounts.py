import pytest

from helpers.accounts import hub_status, model_access, needs_hub, tracking_status
from helpers.config import RunConfig


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return monkeypatch


@pytest.mark.parametrize("allow_stdin", [True, False])
def test_interactive_only_where_a_person_can_answer(allow_stdin):
    """A real kernel, asked as JupyterLab asks (input allowed) and as papermill and nbmake do (not allowed)."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="qlora")
    told = []
    try:
        client.execute_interactive(
            "from helpers.accounts import is_interactive; print(is_interactive())",
            allow_stdin=allow_stdin,
            timeout=60,
            output_hook=lambda message: told.append(message["content"].get("text", "")),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "".join(told).strip() == str(allow_stdin)


def test_what_the_presets_need():
    assert needs_hub(RunConfig.load("tiny")) == needs_hub(RunConfig.load("demo")) == []
    assert needs_hub(RunConfig.load("llama2-7b", push="adapter")) == ["model", "data set", "push"]


def test_no_token_and_none_needed_goes_on(no_token):
    assert hub_status(RunConfig.load("tiny")) == "No Hugging Face token here. Needed from the hub: nothing, go on."
    assert "nothing to ask for" in model_access(RunConfig.load("tiny"))


def test_push_without_a_token_stops(no_token):
    with pytest.raises(RuntimeError, match="push='merged' needs an account: set HF_TOKEN"):
        hub_status(RunConfig.load("tiny", push="merged"))


def test_tracking_without_a_key_is_offline(monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    assert "metrics.jsonl" in tracking_status(RunConfig.load("tiny"))
    assert "offline file" in tracking_status(RunConfig.load("tiny", report_to="wandb"))
    assert tracking_status(RunConfig.load("tiny", report_to="wandb")) == "W&B is offline (WANDB_MODE)."


def test_tracking_never_shows_the_key(monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "planted-secret")
    told = tracking_status(RunConfig.load("tiny", report_to="wandb"))
    assert "online" in told and "planted" not in told
