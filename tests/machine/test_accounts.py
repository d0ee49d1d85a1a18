import os
import subprocess
import sys

import nbformat
import pytest

from helpers.machine.accounts import model_access, tracking_status
from helpers.model.hub import hub_errors, hub_status, needs_hub
from helpers.settings import RunConfig
from tests.conftest import ROOT
from tests.hub_double import hub_with_client


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def in_a_kernel():
    """A function that runs cells in a real kernel, as JupyterLab (input allowed) or papermill does; gives what they
    show."""
    from jupyter_client.manager import start_new_kernel

    def run(*cells, allow_stdin=True):
        shown = []

        def keep(message):
            content = message["content"]
            assert message["msg_type"] != "error", content
            shown.append(content.get("text") or content.get("data", {}).get("text/html", ""))

        manager, client = start_new_kernel(kernel_name="qlora", cwd=str(ROOT / "notebooks"))
        try:
            for cell in cells:
                client.execute_interactive(cell, allow_stdin=allow_stdin, timeout=60, output_hook=keep)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
        return "".join(shown)

    return run


@pytest.mark.parametrize("allow_stdin", [True, False])
def test_interactive_only_where_a_person_can_answer(in_a_kernel, allow_stdin):
    cell = "from helpers.show.notebook import is_interactive; print(is_interactive())"
    assert in_a_kernel(cell, allow_stdin=allow_stdin).strip() == str(allow_stdin)


def test_what_the_presets_need(tiny_model):
    assert needs_hub(RunConfig.load("tiny", model_id=tiny_model)) == []  # a folder, by its full path
    assert needs_hub(RunConfig.load("tiny")) == needs_hub(RunConfig.load("demo")) == []
    assert needs_hub(RunConfig.load("llama2-7b", push="adapter")) == ["model", "data set", "push"]


def test_without_a_token_only_a_push_or_a_login_stops(no_token):
    from huggingface_hub import notebook_login

    assert hub_status(RunConfig.load("tiny")) == "No Hugging Face token here. Needed from the hub: nothing, go on."
    assert "nothing to ask for" in model_access(RunConfig.load("tiny"))
    with pytest.raises(RuntimeError, match="push='merged' needs an account: set HF_TOKEN"):
        hub_status(RunConfig.load("tiny", push="merged"))
    told = "The hub cannot be reached .OfflineModeIsEnabled.*HF_TOKEN is your login"
    with pytest.raises(RuntimeError, match=told), hub_errors():
        notebook_login()


def test_tracking_without_a_key_is_offline_and_a_key_is_never_shown(monkeypatch):
    config = RunConfig.load("tiny", report_to="wandb")
    monkeypatch.delenv("WANDB_MODE")
    with monkeypatch.context() as keyed:
        keyed.setenv("WANDB_API_KEY", "planted-secret")
        told = tracking_status(config)
        assert "online" in told and "planted" not in told
    assert "metrics.jsonl" in tracking_status(RunConfig.load("tiny"))
    assert "offline file" in tracking_status(config)
    assert tracking_status(config) == "W&B is offline (WANDB_MODE)."


# --- against the hub double, with the real client in processes of its own


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with hub_with_client(tmp_path_factory.mktemp("hf"), "helpers.machine.accounts", "huggingface_hub.hf_api") as double:
        double.add_repo("meta/open", {"config.json": b"{}"})
        double.add_repo("meta/gated", {"config.json": b"{}"}, gated=True)
        yield double


OPEN, GATED, ABSENT = ({"QLORA_MODEL_ID": f"meta/{name}"} for name in ("open", "gated", "nowhere"))
DATA = [{"QLORA_DATASET_ID": f"meta/{name}"} for name in ("open", "gated", "nowhere")]
CLOSED = {**OPEN, "HF_ENDPOINT": "http://127.0.0.1:9"}
PROXY = {**OPEN, "ALL_PROXY": "socks://user:secret@127.0.0.1:9/"}
PROXIES = {**OPEN, "https_proxy": "socks5://user:secret@127.0.0.1:9", "HTTP_PROXY": "foo://secret"}


@pytest.mark.parametrize(
    ("question", "kind", "variables", "told"),
    [
        ("hub_status", "read", OPEN, "Logged in on the hub as alice."),
        ("hub_status", "expired", OPEN, "RuntimeError: The hub refused the token (status 401"),
        ("hub_status", "expired", {}, "This run needs nothing from it, so it goes on."),
        ("hub_status", None, OPEN, "No Hugging Face token here. Needed from the hub: model."),
        ("hub_status", "read", CLOSED, "RuntimeError: The hub cannot be reached"),
        ("hub_status", "read", {"QLORA_PUSH": "adapter"}, "RuntimeError: push='adapter' uploads, and this"),
        ("hub_status", "write", {"QLORA_PUSH": "adapter"}, "alice"),
        ("model_access", "read", OPEN, "You may download meta/open."),
        ("model_access", None, OPEN, "You may download meta/open."),
        ("model_access", "read", GATED, "PermissionError: meta/gated is gated: log in, ask for access at http://"),
        ("model_access", "read", ABSENT, "ValueError: model_id='meta/nowhere' is not on the hub"),
        ("model_access", "read", CLOSED, "RuntimeError: The hub cannot be reached"),
        ("data_access", "read", DATA[0], "You may download meta/open."),
        ("data_access", "read", DATA[1], "/datasets/meta/gated, wait for the mail"),
        ("data_access", "read", DATA[1], "PermissionError: meta/gated is gated: log in, ask for access at http://"),
        ("data_access", "read", DATA[2], "ValueError: dataset_id='meta/nowhere' is not on the hub"),
        # what the hub's client does not take
        ("model_access", "read", PROXY, "RuntimeError: .* proxy (ALL_PROXY)"),
        ("model_access", "read", PROXIES, "RuntimeError: .* (HTTP_PROXY, https_proxy)"),
        ("model_access", "read", {**OPEN, "HF_TOKEN": "hf_여기에토큰"}, "RuntimeError: HF_TOKEN holds letters"),
        ("model_access", "read", {**OPEN, "HF_ENDPOINT": "a.co"}, "RuntimeError: HF_ENDPOINT='a.co' is no address"),
    ],
)  # fmt: skip
def test_the_hub_answers_in_one_sentence_without_a_token_in_it(hub, tmp_path, question, kind, variables, told):
    code = "from helpers.machine.accounts import *; from helpers.model.hub import *; "
    code += f"from helpers.settings import RunConfig; print({question}(RunConfig.load('tiny')))"
    environment = {**os.environ, **hub.environment(kind), "HF_HOME": str(tmp_path), **variables}
    start = subprocess.run if "HF_ENDPOINT" in variables else hub.run  # what is read when the client is imported
    done = start([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert not any(secret in done.stdout + done.stderr for secret in (*hub.tokens.values(), "secret"))
    answer = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]
    first, _all, rest = told.rpartition(".*")
    assert answer.startswith(first) and rest in answer, answer


def test_a_person_logs_in_by_code_in_notebook_02(hub, tmp_path, monkeypatch, in_a_kernel):
    """Notebook 02 in a real kernel that may ask for input, as in JupyterLab: link and code, then logged in."""
    for name, value in {**hub.environment(), "HF_HOME": str(tmp_path), "QLORA_MODEL_ID": "meta/open"}.items():
        monkeypatch.setenv(name, value)
    cells = nbformat.read(ROOT / "notebooks" / "02_login.ipynb", as_version=4).cells
    page = in_a_kernel(*(cell.source for cell in cells if cell.cell_type == "code"))
    assert "ABCD-1234" in page and "Logged in on the hub as alice." in page and "You may download meta/open." in page
    assert not any(token in page for token in hub.tokens.values())
