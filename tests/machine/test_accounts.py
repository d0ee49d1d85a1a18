import os
import subprocess
import sys

import nbformat
import pytest

from helpers.machine.accounts import login_errors, model_access, tracking_status
from helpers.model.hub import hub_status, needs_hub
from helpers.settings import RunConfig
from tests.conftest import ROOT
from tests.hub_double import HubDouble


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return monkeypatch


@pytest.mark.parametrize("allow_stdin", [True, False])
def test_interactive_only_where_a_person_can_answer(allow_stdin):
    """A real kernel, asked as JupyterLab asks (input allowed) and as papermill does (not allowed)."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="qlora")
    told = []
    try:
        client.execute_interactive(
            "from helpers.show.notebook import is_interactive; print(is_interactive())",
            allow_stdin=allow_stdin,
            timeout=60,
            output_hook=lambda message: told.append(message["content"].get("text", "")),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "".join(told).strip() == str(allow_stdin)


def test_what_the_presets_need(tiny_model):
    assert needs_hub(RunConfig.load("tiny", model_id=tiny_model)) == []  # a folder, by its full path
    assert needs_hub(RunConfig.load("tiny")) == needs_hub(RunConfig.load("demo")) == []
    assert needs_hub(RunConfig.load("llama2-7b", push="adapter")) == ["model", "data set", "push"]


def test_no_token_and_none_needed_goes_on(no_token):
    assert hub_status(RunConfig.load("tiny")) == "No Hugging Face token here. Needed from the hub: nothing, go on."
    assert "nothing to ask for" in model_access(RunConfig.load("tiny"))


def test_a_login_without_a_hub_is_one_sentence(no_token):
    from huggingface_hub import notebook_login

    told = "The hub cannot be asked for a login .OfflineModeIsEnabled.*set HF_TOKEN"
    with pytest.raises(RuntimeError, match=told), login_errors():
        notebook_login()


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


# --- against the hub double, with the real client in processes of its own


@pytest.fixture
def hub():
    with HubDouble() as double:
        double.add_repo("meta/open", {"config.json": b"{}"})
        double.add_repo("meta/gated", {"config.json": b"{}"}, gated=True)
        yield double


def ask(question, hub, kind, tmp_path, **variables):
    """What `question` prints in a fresh process (or the last line of its error), and that no token is in it."""
    code = "from helpers.machine.accounts import *; from helpers.model.hub import *; "
    code += f"from helpers.settings import RunConfig; print({question}(RunConfig.load('tiny')))"
    environment = {**os.environ, **hub.environment(kind), "HF_HOME": str(tmp_path), **variables}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert not any(token in done.stdout + done.stderr for token in hub.tokens.values())
    return (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("question", "kind", "model", "told"),
    [
        ("hub_status", "read", "meta/open", "Logged in on the hub as alice."),
        ("hub_status", "expired", "meta/open", "RuntimeError: The hub refused the token (status 401"),
        ("hub_status", "expired", "build:tiny-llama", "This run needs nothing from it, so it goes on."),
        ("hub_status", None, "meta/open", "No Hugging Face token here. Needed from the hub: model."),
        ("model_access", "read", "meta/open", "You may download meta/open."),
        ("model_access", None, "meta/open", "You may download meta/open."),
        (
            "model_access",
            "read",
            "meta/gated",
            "PermissionError: meta/gated is gated: log in, ask for access at http://",
        ),
        ("model_access", "read", "meta/nowhere", "ValueError: model_id='meta/nowhere' is not on the hub"),
    ],
)
def test_the_hub_answers_in_one_sentence(hub, tmp_path, question, kind, model, told):
    assert told in ask(question, hub, kind, tmp_path, QLORA_MODEL_ID=model)


def test_the_data_set_is_asked_for_too(hub, tmp_path):
    for data, told in (
        ("meta/open", "You may download meta/open."),
        ("meta/gated", "PermissionError: meta/gated is gated: log in, ask for access at http://"),
        ("meta/nowhere", "ValueError: dataset_id='meta/nowhere' is not on the hub"),
    ):
        answer = ask("data_access", hub, "read", tmp_path, QLORA_DATASET_ID=data)
        assert told in answer and ("gated" not in data or f"/datasets/{data}" in answer)


def test_a_run_that_pushes_needs_a_token_that_may_write(hub, tmp_path):
    for kind, told in (
        ("read", "RuntimeError: push='adapter' uploads, and this token may only read"),
        ("write", "alice"),
    ):
        assert told in ask("hub_status", hub, kind, tmp_path, QLORA_PUSH="adapter")


@pytest.mark.parametrize("question", ["hub_status", "model_access"])
def test_no_network_is_one_sentence(hub, tmp_path, question):
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "QLORA_MODEL_ID": "meta/open"}
    assert ask(question, hub, "read", tmp_path, **closed).startswith("RuntimeError: The hub cannot be reached")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"ALL_PROXY": "socks://user:secret@127.0.0.1:9/"}, "proxy (ALL_PROXY)"),
        (
            {"https_proxy": "socks5://user:secret@127.0.0.1:9", "HTTP_PROXY": "foo://secret"},
            "(HTTP_PROXY, https_proxy)",
        ),
        ({"HF_TOKEN": "hf_여기에토큰"}, "HF_TOKEN holds letters that no token has"),
        ({"HF_ENDPOINT": "huggingface.co"}, "HF_ENDPOINT='huggingface.co' is no address"),
    ],
)
def test_what_the_hubs_client_does_not_take_is_named(hub, tmp_path, variables, told):
    answer = ask("model_access", hub, "read", tmp_path, QLORA_MODEL_ID="meta/open", **variables)
    assert answer.startswith("RuntimeError: ") and told in answer and "secret" not in answer, answer


def test_a_person_logs_in_by_code_in_notebook_02(hub, tmp_path, monkeypatch):
    """Notebook 02 in a real kernel that may ask for input, as in JupyterLab: link and code, then logged in."""
    from jupyter_client.manager import start_new_kernel

    for name, value in {**hub.environment(), "HF_HOME": str(tmp_path), "QLORA_MODEL_ID": "meta/open"}.items():
        monkeypatch.setenv(name, value)
    shown = []

    def keep(message):
        content = message["content"]
        assert message["msg_type"] != "error", content
        shown.append(content.get("text") or content.get("data", {}).get("text/html", ""))

    manager, client = start_new_kernel(kernel_name="qlora", cwd=str(ROOT / "notebooks"))
    try:
        for cell in nbformat.read(ROOT / "notebooks" / "02_login.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                client.execute_interactive(cell.source, allow_stdin=True, timeout=60, output_hook=keep)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    page = "".join(shown)
    assert "ABCD-1234" in page and "Logged in on the hub as alice." in page and "You may download meta/open." in page
    assert not any(token in page for token in hub.tokens.values())
