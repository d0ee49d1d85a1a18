"""The push over real HTTP: the real client in a process of its own, against tests/hub_double.py."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.hub_double import HubDouble

PUSH = """
from helpers.config import RunConfig
from helpers.model_card import write_card
from helpers.publishing import hub_errors, plan_push, read_back, refusals, upload
from helpers.runs import RunDir

config = RunConfig.load("tiny")
run = RunDir.open(config)
for push in plan_push(run, config):
    write_card(run, config, push.what, refused=refusals(run, push))
    with hub_errors(push):
        commit = upload(push, config)
        print(push.repo, "files that are the same:", read_back(push, commit))
"""


@pytest.fixture
def hub():
    with HubDouble() as double:
        yield double


@pytest.fixture
def run(tmp_path):
    """A run directory as 05 leaves it, with small stand-ins for the weights."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "runs" / "tiny"
    for name, file in (("adapter", "adapter_model.safetensors"), ("merged", "model.safetensors")):
        (folder / name).mkdir(parents=True)
        save_file({"weight": torch.full((64, 64), float(len(name)))}, folder / name / file)
        (folder / name / "tokenizer_config.json").write_text("{}")
        (folder / name / "chat_template.jinja").write_text("{{ messages }}")
        (folder / name / "config.json").write_text("{}")
    measured = {name: {"nll": 1.0, "nll_low": 0.9, "nll_high": 1.1, "stops": 1.0} for name in ("adapter", "16bit-base")}
    receipt = {"verdict": "green", "chosen": "16bit-base", "measured": measured, "counts": {"rows": 3, "tokens": 40}}
    (folder / "merge_receipt.json").write_text(json.dumps(receipt))
    return folder


def python(code: str, hub, kind: str | None, run, **settings) -> subprocess.CompletedProcess:
    environment = {**os.environ, **hub.environment(kind), "QLORA_RUNS_DIR": str(run.parent)}
    environment |= {"HF_HOME": str(run.parent / "hf"), **{f"QLORA_{k.upper()}": str(v) for k, v in settings.items()}}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    for token in hub.tokens.values():
        assert token not in done.stdout + done.stderr
    return done


def last_line(done) -> str:
    assert done.returncode != 0, done.stdout
    return done.stderr.strip().splitlines()[-1]


def test_both_are_pushed_private_and_read_back(hub, run):
    done = python(PUSH, hub, "write", run, push="both")
    assert done.returncode == 0, done.stderr
    assert set(hub.repos) == {"alice/tiny", "alice/tiny-adapter"}
    for name, folder in (("alice/tiny", "merged"), ("alice/tiny-adapter", "adapter")):
        repo = hub.repos[name]
        assert repo.private and repo.messages == [f"Add the {folder} of run tiny"]
        for path in (run / folder).iterdir():
            assert repo.files[path.name] == path.read_bytes()
    assert "files that are the same: 5" in done.stdout


def test_a_second_push_of_the_same_run_is_welcome(hub, run):
    for _ in range(2):
        assert python(PUSH, hub, "write", run, push="merged", hub_private=False).returncode == 0
    assert not hub.repos["alice/tiny"].private


@pytest.mark.parametrize("where", ["PUT /lfs/", "/commit/", "/preupload/"])
def test_a_broken_connection_is_resumed(hub, run, where):
    hub.drop[where] = 2
    done = python(PUSH, hub, "write", run, push="both")
    assert done.returncode == 0, done.stderr
    assert hub.drop[where] == 0
    puts = [line for line in hub.requests if line.startswith("PUT /lfs/")]
    assert len(puts) == 2 + (2 if where == "PUT /lfs/" else 0), "a file that had arrived was sent again"


def test_a_file_changed_on_the_way_is_found(hub, run):
    spoil = PUSH.replace("commit = upload(push, config)", "commit = upload(push, config); input()")
    environment = {**os.environ, **hub.environment("write"), "QLORA_RUNS_DIR": str(run.parent), "QLORA_PUSH": "merged"}
    process = subprocess.Popen(
        [sys.executable, "-c", spoil],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (hub.repos.get("alice/tiny") and "model.safetensors" in hub.repos["alice/tiny"].files):
        assert process.poll() is None
    hub.repos["alice/tiny"].files["model.safetensors"] += b"x"
    _, errors = process.communicate("\n", timeout=60)
    assert "model.safetensors in alice/tiny differs from the local file" in errors


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (None, "push='adapter' needs an account: set HF_TOKEN"),
        ("expired", "The hub refused the token (status 401: wrong or expired)"),
        ("read", "Your token may only read: make one with write access"),
    ],
)
def test_a_token_that_will_not_do(hub, run, kind, sentence):
    before = sorted(path.read_bytes() for path in run.rglob("*") if path.is_file())
    told = last_line(python(PUSH, hub, kind, run, push="adapter"))
    assert sentence in told and hub.repos == {}
    assert before == sorted(path.read_bytes() for path in run.rglob("*") if path.is_file())


def test_somebody_elses_name(hub, run):
    told = last_line(python(PUSH, hub, "write", run, push="adapter", hub_repo="bob/model"))
    assert "your token may not write to bob/model" in told and "QLORA_HUB_REPO" in told


def test_a_name_that_is_taken(hub, run):
    hub.add_repo("alice/tiny", {"README.md": b"---\nlicense: mit\n---\n# another model"})
    told = last_line(python(PUSH, hub, "write", run, push="adapter"))
    assert "alice/tiny exists and is not from this run: set QLORA_HUB_REPO" in told
    assert list(hub.repos["alice/tiny"].files) == ["README.md"]
    assert python(PUSH, hub, "write", run, push="adapter", hub_force=True).returncode == 0


def test_no_network(hub, run):
    hub.__exit__()
    told = last_line(python(PUSH, hub, "write", run, push="adapter"))
    assert "The hub cannot be reached" in told


def test_network_lost_for_good_in_the_middle(hub, run):
    hub.drop["/commit/"] = 1000
    told = last_line(python(PUSH, hub, "write", run, push="adapter"))
    assert "The hub cannot be reached" in told and "Nothing local is lost" in told


def empty_adapter(run):
    from safetensors.torch import save_file

    save_file({}, run / "adapter" / "adapter_model.safetensors")


def red_receipt(run):
    receipt = json.loads((run / "merge_receipt.json").read_text())
    (run / "merge_receipt.json").write_text(json.dumps({**receipt, "verdict": "red"}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (empty_adapter, "holds 0 tensors"),
        (red_receipt, "The merge receipt is red."),
        (lambda run: (run / "merged" / "tokenizer_config.json").unlink(), "The tokenizer is missing in merged/."),
        (lambda run: (run / "merged" / "chat_template.jinja").unlink(), "has no chat template"),
        (lambda run: (run / "merged" / "model.safetensors").unlink(), "The merged folder holds no weights"),
        (lambda run: (run / "merge_receipt.json").unlink(), "The merge has no receipt"),
    ],
)
def test_what_is_refused_and_what_force_says(hub, run, spoil, sentence):
    spoil(run)
    told = last_line(python(PUSH, hub, "write", run, push="merged"))
    assert sentence in told and hub.repos == {}
    done = python(PUSH, hub, "write", run, push="merged", hub_force=True)
    assert done.returncode == 0, done.stderr
    assert "Pushed in spite of a refusal" in hub.repos["alice/tiny"].files["README.md"].decode()


def test_login_with_a_code_in_the_browser(hub, run):
    """What notebook_login does: a device code, a token that is kept under HF_HOME, and whoami with it."""
    code = """
from huggingface_hub import get_token, whoami
from huggingface_hub._login import _device_code_login
assert get_token() is None
_device_code_login()
print("I am", whoami()["name"])
"""
    done = python(code, hub, None, run)
    assert done.returncode == 0 and "I am alice" in done.stdout, done.stderr


def test_a_gated_base_says_where_to_ask(hub, run):
    hub.add_repo("meta/gated", {"config.json": b"{}"}, gated=True)
    code = "from helpers.accounts import *; from helpers.config import RunConfig; model_access(RunConfig.load('tiny'))"
    told = last_line(python(code, hub, "write", run, model_id="meta/gated"))
    assert f"meta/gated is gated: log in, ask for access at {hub.url}/meta/gated" in told


def test_nothing_to_push_touches_no_network(hub, run):
    assert python(PUSH, hub, None, run, push="none").returncode == 0
    assert hub.requests == []


def test_the_card_is_escaped_and_complete(run, monkeypatch):
    from huggingface_hub import ModelCard

    from helpers.config import RunConfig
    from helpers.model_card import write_card
    from helpers.runs import RunDir

    row = {"prompt": "<script>alert(1)</script>", "adapter": "# a [link](http://x) `code`\n---\nend"}
    (run / "comparisons.jsonl").write_text(json.dumps(row) + "\n")
    metrics = {"step": 40, "seconds": 120.0, "device": "CPU, 2 cores"}
    (run / "metrics.jsonl").write_text(json.dumps(metrics) + "\n")
    config = RunConfig.load(
        "tiny", model_id="meta-llama/Llama-2-7b-hf", dataset_id="heegyu/open-korean-instructions", price_per_hour=3.0
    )
    card = write_card(RunDir(run), config, "adapter")
    assert "<script>" not in card.text and "](http" not in card.text and r"\# a" in card.text
    assert card.data.base_model == "meta-llama/Llama-2-7b-hf" and card.data.datasets == [config.dataset_id]
    assert card.data.eval_results[0].metric_value == 1.0
    for part in ("CC\\-BY\\-NC\\-4.0", "r 8, alpha 16", "CPU, 2 cores", "2 min", "0.10", "learning rate"):
        assert part in card.text, part
    assert ModelCard.load(run / "adapter" / "README.md").data.get("qlora_run") == config.run_name
