"""The push over real HTTP: the real client in a process of its own, against tests/hub_double.py.

The processes are forked from one that has imported the client (tests/forked.py), but for three that start as a user's.
"""

import json
import os
import shutil
import subprocess
import sys

import httpx2
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from helpers.evaluate.evaluation import Evaluation
from helpers.evaluate.served import Served
from helpers.files import sha256, write_json, write_jsonl
from helpers.merge import push as pushing
from helpers.merge.card import write_card
from helpers.merge.licences import Licence, licence, naming_rule
from helpers.merge.push import Push, hub_errors
from helpers.runs import RunDir
from helpers.series import NOTEBOOKS, run_notebooks
from helpers.settings import RunConfig
from helpers.train.preferences import OWN as PREFERENCES
from tests.conftest import ROOT, edit_json
from tests.hub_double import HubDouble, hub_with_client

PUSH = """
from helpers.settings import RunConfig
from helpers.merge import push as pushing
from helpers.merge.card import write_card
from helpers.merge.push import hub_errors, plan_push, read_back, refusals, upload
from helpers.runs import RunDir

pushing.WAIT = 0
config = RunConfig.load("tiny")
run = RunDir.open(config)
for push in plan_push(run, config):
    with hub_errors(push):
        write_card(run, config, push, refused=refusals(run, push, config.require))
        commit = upload(push, config)
        print(push.repo, "files that are the same:", read_back(push, commit))
"""

EVIL, EVIL_REPLY = "<script>alert(1)</script>", "# a [link](http://x) `code`\n---\nend"


MODULES = ("helpers.merge.card", "helpers.merge.push", "safetensors.torch")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A double of the hub, and the folder where its client keeps a login."""
    home = tmp_path_factory.mktemp("hf")
    with hub_with_client(home, *MODULES) as double:
        yield double, home


@pytest.fixture
def hub(server):
    """The double as if it were new."""
    double, home = server
    double.empty()
    shutil.rmtree(home, ignore_errors=True)
    return double


@pytest.fixture
def run(tmp_path):
    """A run directory as 05 leaves it, with small stand-ins for the weights."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(RunConfig.load("tiny").to_json())
    for name, file in (("adapter", "adapter_model.safetensors"), ("merged", "model.safetensors")):
        (folder / name).mkdir(parents=True)
        save_file({"weight": torch.full((64, 64), float(len(name)))}, folder / name / file)
        (folder / name / "tokenizer_config.json").write_text("{}")
        (folder / name / "chat_template.jinja").write_text("{{ messages }}")
        (folder / name / "config.json").write_text("{}")
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 8, "base_model_name_or_path": "/home/kim/base"}')
    row = {"nll": 1.0, "nll_low": 0.9, "nll_high": 1.1, "stops": 1.0, "replies": 4}
    report = {"verdict": "green", "verdict_reason": "all well", "chosen": "16bit-base", "seed": 42}
    report |= {"measured": {"adapter": row, "16bit-base": row}, "counts": {"rows": 3, "tokens": 40}}
    report["examples"] = [{"prompt": EVIL, "base": "", "adapter": EVIL_REPLY, "merged": "m"}]
    weights = folder / "merged" / "model.safetensors"
    write_json(
        folder / "merge_report.json", {**report, "versions": {"torch": "9"}, "files": {weights.name: sha256(weights)}}
    )
    return folder


def python(code: str, hub, kind: str | None, run, start=None, **settings) -> subprocess.CompletedProcess:
    environment = {**os.environ, **hub.environment(kind), "QLORA_RUNS_DIR": str(run.parent)}
    environment |= {"HF_HOME": str(run.parent / "hf"), **{f"QLORA_{k.upper()}": str(v) for k, v in settings.items()}}
    command, piped = [sys.executable, "-c", code], {"capture_output": True, "text": True, "timeout": 120}
    done = (start or hub.run)(command, env=environment, cwd=ROOT, **piped)
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
    assert "files that are the same: 6" in done.stdout
    config = json.loads(hub.repos["alice/tiny-adapter"].files["adapter_config.json"])
    assert config == {"r": 8, "base_model_name_or_path": "build:tiny-llama"}  # no path of this machine


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
    piped = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", spoil], env=environment, cwd=ROOT, **piped)
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
        ("read", "this token may only read: set HF_TOKEN to a write token"),
    ],
)
def test_a_token_that_will_not_do(hub, run, kind, sentence):
    before = sorted(path.read_bytes() for path in run.rglob("*") if path.is_file())
    told = last_line(python(PUSH, hub, kind, run, push="adapter"))
    assert sentence in told and hub.repos == {}
    assert before == sorted(path.read_bytes() for path in run.rglob("*") if path.is_file())


def test_a_repository_without_an_owner_is_yours_and_a_bad_name_leaves_nothing(hub, run):
    assert python(PUSH, hub, "write", run, push="adapter", hub_repo="my-model").returncode == 0
    assert set(hub.repos) == {"alice/my-model"}
    for name in ("https://huggingface.co/alice/a", "alice/a b", "alice/a--b"):
        assert python(PUSH, hub, "write", run, push="adapter", hub_repo=name).returncode != 0
    assert set(hub.repos) == {"alice/my-model"}


def test_somebody_elses_name(hub, run):
    told = last_line(python(PUSH, hub, "write", run, push="adapter", hub_repo="bob/model"))
    assert "your token may not write to bob/model" in told and "QLORA_HUB_REPO" in told


def test_a_name_that_is_taken(hub, run):
    hub.add_repo("alice/tiny", {"README.md": b"---\nlicense: mit\n---\n# another model"})
    for force in (False, True):  # force is for what the report says, never for what belongs to others
        told = last_line(python(PUSH, hub, "write", run, push="adapter", hub_force=force))
        assert "alice/tiny exists and is not from this run: set QLORA_HUB_REPO" in told
        assert list(hub.repos["alice/tiny"].files) == ["README.md"]


@pytest.mark.parametrize(
    "card",
    ["---\nlicense: [mit\n---\n", "---\n- a\n---\n", "---\nmodel-index: 3\n---\n", "---\nlicense: mit\n---\n한국"],
)
def test_a_card_that_cannot_be_read_is_another_ones(tmp_path, card):
    (tmp_path / "README.md").write_bytes(card.encode("utf-8" if card.isascii() else "cp949"))
    assert "qlora_run" not in pushing._card(str(tmp_path / "README.md"), ["README.md"])


def test_a_hub_that_is_gone_is_no_card_that_cannot_be_read(monkeypatch):
    def gone(*_, **__):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(pushing.ModelCard, "load", gone)
    with pytest.raises(LocalEntryNotFoundError):
        pushing._card("alice/tiny", ["README.md"])


@pytest.mark.parametrize(
    "words", ["Private repository storage limit reached, please upgrade your plan", "Your storage patterns tripped ..."]
)
def test_a_full_account_is_no_token_that_may_not_write(words):
    """The hub answers 403 to both (huggingface_hub issues 3049 and 3366)."""
    answer = httpx2.Response(403, request=httpx2.Request("POST", "https://hub/api"))
    with (
        pytest.raises(RuntimeError, match="storage of the account") as told,
        hub_errors(Push("merged", None, "a/b", "")),
    ):
        raise HfHubHTTPError("Forbidden", response=answer, server_message=words)
    assert "token" not in str(told.value) and "Nothing local is lost" in str(told.value)


@pytest.mark.slow
def test_a_public_repository_gets_nothing_that_should_be_private(hub, run):
    assert python(PUSH, hub, "write", run, push="merged", hub_private=False).returncode == 0
    before = dict(hub.repos["alice/tiny"].files)
    for force in (False, True):
        told = last_line(python(PUSH, hub, "write", run, push="merged", hub_force=force))
        assert "alice/tiny exists and is public: set QLORA_HUB_PRIVATE=false" in told
        assert hub.repos["alice/tiny"].files == before


@pytest.mark.slow
def test_an_earlier_push_leaves_nothing_behind(hub, run):
    """One file, then shards: the old file is what transformers would load. Hidden files and GGUF stay here."""
    merged = run / "merged"
    (merged / "notes.txt").write_text("of this push")
    assert python(PUSH, hub, "write", run, push="merged").returncode == 0
    (merged / "notes.txt").unlink()
    repo = hub.repos["alice/tiny"]
    assert "notes.txt" in repo.files
    for name in ("model.safetensors", "notes.txt", "config.json"):
        assert f"- {name}\n" in repo.files["README.md"].decode()  # the card knows what was written
    (merged / "model.safetensors").rename(merged / "model-00001-of-00001.safetensors")
    digest = json.loads((run / "merge_report.json").read_text())["files"]["model.safetensors"]
    edit_json(run / "merge_report.json", files={"model-00001-of-00001.safetensors": digest})
    for name in (".secret", "Model-Q8.GGUF", ".cache/notes.txt", "deep/.ssh/key", ".eval_results/.key"):
        (merged / name).parent.mkdir(parents=True, exist_ok=True)
        (merged / name).write_bytes(b"stays here")
    theirs = {".gitattributes": b"*.bin filter=lfs", "Model-Q8.GGUF": b"of alice", "assets/a.png": b"picture"}
    theirs |= {"old/pytorch_model.bin": b"of alice", "LICENSE": b"terms", "training_args.bin": b"of alice"}
    old = ("pytorch_model.bin.index.json", "consolidated.safetensors", "adapter_config.json")
    repo.files |= theirs | dict.fromkeys(old, b"{}")
    for _ in range(2):
        done = python(PUSH, hub, "write", run, push="merged")
        assert done.returncode == 0, done.stderr
    wanted = {"model-00001-of-00001.safetensors", "tokenizer_config.json", "chat_template.jinja"}
    wanted |= {"config.json", "README.md"}
    assert set(repo.files) == wanted | set(theirs) and len(repo.commits) == 3  # nothing new, no commit
    assert {name: repo.files[name] for name in theirs} == theirs
    assert "files that are the same: 5" in done.stdout and "removed from" not in done.stdout
    assert "left in alice/tiny as it was: LICENSE, Model-Q8.GGUF, assets/a.png, old/pytorch_model.bin" in done.stdout


@pytest.mark.parametrize("manifest", [True, False], ids=["with its list", "of an older version, without a list"])
@pytest.mark.slow
def test_what_goes_is_told(hub, run, manifest):
    assert python(PUSH, hub, "write", run, push="merged").returncode == 0
    repo = hub.repos["alice/tiny"]
    if not manifest:
        repo.files["README.md"] = repo.files["README.md"].replace(b"qlora_files", b"others")
    repo.files |= {"notes.txt": b"by hand"}
    for name in ("model.safetensors", "config.json"):
        (run / "merged" / name).rename(run / "merged" / f"new-{name}")
    digests = json.loads((run / "merge_report.json").read_text())["files"]
    edit_json(run / "merge_report.json", files={f"new-{name}": digest for name, digest in digests.items()})
    told = python(PUSH, hub, "write", run, push="merged").stdout
    gone = "config.json, model.safetensors" if manifest else "model.safetensors"
    assert f"so removed from alice/tiny (its history keeps them): {gone}\n" in told
    assert f"left in alice/tiny as it was: {'notes.txt' if manifest else 'config.json, notes.txt'}\n" in told


def test_the_hubs_results_file(hub, run):
    """By huggingface_hub's own classes, read back by them; only where the data is on the hub, and gone with it."""
    import yaml
    from huggingface_hub import parse_eval_result_entries

    hub.add_repo("owner/data", {"README.md": b"---\nlicense: mit\n---\n"})
    settings = {"dataset_id": "owner/data", "dataset_revision": "a" * 40, "run_name": "tiny"}
    done = python(PUSH, hub, "write", run, push="both", **settings)
    assert done.returncode == 0, done.stderr
    for repo in (hub.repos["alice/tiny"], hub.repos["alice/tiny-adapter"]):
        (entry,) = parse_eval_result_entries(yaml.safe_load(repo.files[".eval_results/held-out.yaml"]))
        assert (entry.dataset_id, entry.task_id, entry.value) == ("owner/data", "held_out_nll", 1.0)
        assert entry.dataset_revision == "a" * 40
        assert "95 % interval 0.9000 to 1.1000; on 3 conversations" in entry.notes
        (result,) = ModelCard(repo.files["README.md"].decode()).data.eval_results
        assert (result.metric_type, result.metric_value, result.dataset_type) == ("nll", 1.0, "owner/data")
    done = python(PUSH, hub, "write", run, push="merged")  # data of this machine: others could not look it up
    assert done.returncode == 0 and ".eval_results/held-out.yaml" not in hub.repos["alice/tiny"].files, done.stderr
    assert "(its history keeps them): .eval_results/held-out.yaml" in done.stdout


def test_no_network(run):
    with HubDouble() as gone:
        pass
    told = last_line(python(PUSH, gone, "write", run, subprocess.run, push="adapter"))
    assert "The hub cannot be reached" in told


@pytest.mark.slow
def test_network_lost_for_good_in_the_middle(hub, run):
    hub.drop["/commit/"] = 1000
    told = last_line(python(PUSH, hub, "write", run, push="adapter"))
    assert "The hub cannot be reached" in told and "Nothing local is lost" in told


def empty_adapter(run):
    from safetensors.torch import save_file

    save_file({}, run / "adapter" / "adapter_model.safetensors")


def lost(name):
    return lambda run: (run / name).unlink()


def other_weights(run):
    file = run / "merged" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("spoil", "sentence", "can_be_forced"),
    [
        (empty_adapter, "holds 0 tensors", False),
        (lambda run: edit_json(run / "merge_report.json", verdict="red"), "The merge report is red.", True),
        (lost("merged/tokenizer_config.json"), "The tokenizer is missing in merged/.", False),
        (lost("merged/chat_template.jinja"), "has no chat template", False),
        (other_weights, "The merge report is of other weights than merged/ holds", True),
        (lost("merged/model.safetensors"), "The merged folder holds no weights", False),
        (lost("merge_report.json"), "The merge has no report", True),
    ],
)
@pytest.mark.slow
def test_what_is_refused_and_what_force_says(hub, run, spoil, sentence, can_be_forced):
    spoil(run)
    told = last_line(python(PUSH, hub, "write", run, push="merged"))
    assert sentence in told and hub.repos == {} and ("hub_force" in told) is can_be_forced
    done = python(PUSH, hub, "write", run, push="merged", hub_force=True)
    assert (done.returncode == 0) is can_be_forced, done.stderr
    if can_be_forced:
        assert "Pushed in spite of a refusal" in hub.repos["alice/tiny"].files["README.md"].decode()
    else:
        assert hub.repos == {}


@pytest.mark.slow
def test_the_gate_is_asked_before_a_push(hub, run):
    def push(require, **settings):
        return python(PUSH, hub, "write", run, push="merged", require=require, **settings)

    assert "Nothing was measured yet" in last_line(push("exact >= 0.8")) and hub.repos == {}
    checks = {"exact": {"merged": 44, "of": 48}}
    gain = {"number": "NLL per token", "model": "adapter", "against": "base", "verdict": "better", "difference": -0.5}
    write_json(run / "evaluation.json", {"models": {"merged": {}, "base": {}}, "checks": checks, "paired": [gain]})
    assert "does not hold" in last_line(push("exact >= 0.99")) and "no requirement" in last_line(push("exact"))
    assert push("exact >= 0.8").returncode == 0 and hub.repos
    assert push("exact >= 0.99", hub_force=True).returncode == 0
    assert "does not hold" in hub.repos["alice/tiny"].files["README.md"].decode()


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
    code = "from helpers.machine.accounts import *; from helpers.settings import RunConfig; model_access(RunConfig.load('tiny'))"
    told = last_line(python(code, hub, "write", run, model_id="meta/gated"))
    assert f"meta/gated is gated: log in, ask for access at {hub.url}/meta/gated" in told


def test_nothing_to_push_touches_no_network(hub, run):
    assert python(PUSH, hub, None, run, push="none").returncode == 0
    assert hub.requests == []


def test_the_card_says_that_preferences_were_trained(run):
    config, push = RunConfig.load("tiny"), Push("adapter", run / "adapter", "alice/tiny", "message")
    assert "DPO" not in write_card(RunDir(run), config, push).text
    made = {"from": "tiny", "data": "/home/me/pairs*.jsonl", "beta": 0.1, "learning_rate": 5e-4}
    write_json(run / "preference.json", {**made, "epochs": 2.0, "pairs": 18})
    card = write_card(RunDir(run), config, push).text
    assert "- then: DPO on 18 preference pairs \\(pairs\\*.jsonl\\), beta 0.1" in card and "home" not in card


@pytest.mark.parametrize(
    ("data", "strict"),
    [("heegyu/open-korean-instructions", True), ("votes of 06", False), (PREFERENCES, False)],
    ids=["of the hub", "votes", "the project's own"],
)
def test_the_licence_of_preference_pairs_is_inherited_too(run, data, strict):
    made = {"from": "tiny", "data": data, "beta": 0.1, "learning_rate": 5e-4, "epochs": 2.0, "pairs": 18}
    write_json(run / "preference.json", made)
    card = write_card(RunDir(run), RunConfig.load("tiny"), Push("merged", run / "merged", "alice/tiny", "message"))
    assert (card.data.license == "other") is strict and "not known here" not in card.text
    assert (card.data.datasets == [data]) is strict and ("CC\\-BY\\-NC" in card.text) is strict


def test_the_card_is_escaped_and_complete(run):
    rows = [
        {"step": 40, "device": "CPU, 2 cores", "elapsed_s": 100.0, "lost_s": 20.0, "cards": 2}
    ]  # a kill took 20 s back
    write_jsonl(run / "metrics.jsonl", [*rows, {"step": 40, "eval_loss": 1.0, "elapsed_s": 130.0}])
    settings = {"model_id": "meta-llama/Llama-2-7b-hf", "dataset_id": "heegyu/open-korean-instructions"}
    config = RunConfig.load("tiny", **settings, price_per_hour=3.0, hub_examples=True)
    card = write_card(RunDir(run), config, Push("adapter", run / "adapter", "alice/tiny", "message"))
    assert "<script>" not in card.text and "](http" not in card.text and r"\# a" in card.text
    assert card.data.base_model == "meta-llama/Llama-2-7b-hf" and card.data.datasets == [config.dataset_id]
    assert card.data.eval_results[0].metric_value == 1.0 and card.data.license == "other"  # the data's is stricter
    parts = "CC\\-BY\\-NC\\-4.0|Llama 2 Community|r 8, alpha 16|CPU, 2 cores|2 min|0.20 \\(at 3 per|learning rate|4 of 4|seed 42"
    parts += '|torch 9|40 answer tokens|The merge report is green|(nothing)|"alice/tiny"'
    assert [part for part in parts.split("|") if part not in card.text] == []
    assert ModelCard.load(run / "adapter" / "README.md").data.get("qlora_run") == config.run_name


def test_the_card_names_every_data_set_and_its_licence(run):
    """Several with weights, and the one that was rehearsed: the last name alone stood there, and its weight in it."""
    own, korean = "notebooks/data/calendar_en.jsonl", "heegyu/open-korean-instructions"
    settings = {"dataset_id": f"{korean}:2, {own}", "rehearsal_dataset_id": "notebooks/data/polite_ko.jsonl"}
    push = Push("adapter", run / "adapter", "alice/tiny", "message")
    card = write_card(RunDir(run), RunConfig.load("tiny", **settings, rehearsal_fraction=0.1), push)
    assert card.data.datasets == [korean] and card.data.license == "other"  # the strictest of all
    assert "on heegyu/open\\-korean\\-instructions, calendar\\_en.jsonl, polite\\_ko.jsonl." in card.text
    assert "CC\\-BY\\-NC" in card.text and card.text.count("data: mit") == 2
    assert ":2" not in card.text and "not known here" not in card.text
    one = write_card(RunDir(run), RunConfig.load("tiny", dataset_id=f"{korean}:2"), push)
    assert one.data.datasets == [korean] and "CC\\-BY\\-NC" in one.text


def test_the_card_shows_the_checks_of_this_merge_with_intervals_and_the_baseline(run):
    config, folder = RunConfig.load("tiny"), RunDir(run)
    push = Push("merged", run / "merged", "alice/tiny", "message")
    checks = {"exact": {"base": 0, "merged": 44, "baseline": 13, "of": 48}, "late_one": {"merged": 48, "of": 48}}
    Evaluation({"merged": {}}, checks=checks).write(folder)
    count = {"bytes": 1, "nll": 1.0, "same_first_choice": 9, "same_reply": 1, "stopped": 48}
    files = {"model-q8_0.gguf": {**count, "checks": {"exact": {"passed": 43, "of": 48}}}}
    Served(files, {**count, "checks": {"exact": {"passed": 44, "of": 48}}}, 60, 900, 48).write(folder)
    text = write_card(folder, config, push).text
    assert "| check | base | merged | baseline |" in text and "| 27% of 48 (17% to 41%) |" in text
    assert "| late\\_one |  | 100% of 48" in text and "| check | merged | model\\-q8\\_0.gguf |" in text
    edit_json(run / "merge_report.json", files={"model.safetensors": "of another merge"})
    assert "## Checks" not in write_card(folder, config, push).text


@pytest.mark.parametrize(
    ("licence_id", "name", "repo", "told"),
    [
        ("llama3.1", "", "alice/my-model", "alice/my-model does not, so set QLORA_HUB_REPO"),
        ("other", "llama-4-community", "alice/tiny", "alice/tiny does not"),
        ("other", "META LLAMA 3 COMMUNITY LICENSE", "alice/tiny", "alice/tiny does not"),
        ("other", "llama_3_2", "alice/tiny", "alice/tiny does not"),
        ("llama3.2", "", "alice/Llama-ko", "Built with Llama"),
        ("llama2", "", "alice/my-model", None),
        ("apache-2.0", "", "alice/llama", None),
    ],
)
def test_the_naming_rule_of_llama(licence_id, name, repo, told):
    rule = naming_rule(Licence(licence_id, "", name), repo)
    assert rule == "" if told is None else told in rule
    assert ("QLORA_HUB_REPO" in rule) is (bool(told) and "does not" in told)


@pytest.mark.parametrize("name", ["data/a--b.jsonl", "data/rows..jsonl", "data/my.git"])
def test_a_file_that_has_moved_since_has_no_licence_on_the_hub(name):
    """It looks like a hub id, and is none that the hub's client would ask for."""
    assert licence(name, "dataset").id == "other"


def test_the_card_inherits_the_licence_and_keeps_private_text(hub, run):
    """An unnamed licence keeps its name and address; without hub_examples no held-out text is on the card."""
    head = b"---\nlicense: other\nlicense_name: llama-4-x\nlicense_link: https://llama.com/x\n---\n"
    hub.add_repo("meta/base", {"README.md": head})
    done = python(PUSH, hub, "write", run, push="merged", model_id="meta/base", run_name="tiny")
    assert done.returncode == 0, done.stderr
    card = hub.repos["alice/tiny"].files["README.md"].decode()
    for part in ("license: other", "license_name: llama-4-x", "license_link: https://llama.com/x", "Built with Llama."):
        assert part in card, part
    assert "Asked:" not in card and "stop_rate" not in card and "alice/tiny does not" in done.stdout


def test_licences_come_from_the_hub(hub, run):
    """A model's own page says its licence; what cannot be seen is said to be unknown."""
    hub.add_repo("meta/base", {"README.md": b"---\nlicense: gemma\n---\n"})
    terms = b"---\nlicense: other\nlicense_name: exaone\nlicense_link: LICENSE\n---\n"
    hub.add_repo("lg/exaone", {"README.md": terms})
    hub.add_repo("bob/secret", {"README.md": b"---\nlicense: mit\n---\n"}, private=True)
    code = """
from helpers.merge.licences import licence
names = ("meta/base", "model"), ("meta/base", "dataset"), ("bob/secret", "model"), ("/home/kim/rows.csv", "dataset"), ("lg/exaone", "model")
for name, kind in names:
    found = licence(name, kind)
    print(found.id, found.words, found.name, found.link, sep=" | ")
"""
    told = python(code, hub, "write", run).stdout.splitlines()
    assert told[0] == told[1] == "gemma | gemma (meta/base) |  | "
    assert told[4].endswith("| exaone | https://huggingface.co/lg/exaone/blob/main/LICENSE")
    assert told[2].startswith("other | bob/secret: not known here")
    assert told[3].startswith("other | rows.csv: not known")


# --- from a real run


@pytest.mark.slow
def test_notebook_05_pushes_what_it_made(hub, trained_run, tmp_path, monkeypatch):
    """05 itself on the trained tiny run; then a stranger's program, with the code on the model card."""
    import nbformat

    shutil.copytree(trained_run.path, tmp_path / "runs" / "tiny", ignore=shutil.ignore_patterns("merge*", "notebooks"))
    settings = {"QLORA_PUSH": "both", "QLORA_HUB_EXAMPLES": "true", "QLORA_RUNS_DIR": str(tmp_path / "runs")}
    for name, value in {**hub.environment("write"), **settings, "HF_HOME": str(tmp_path / "hf")}.items():
        monkeypatch.setenv(name, value)
    run = run_notebooks([NOTEBOOKS / "05_merge_and_push.ipynb"], "tiny")
    report = json.loads(run.merge_report.read_text(encoding="utf-8"))
    cells = nbformat.read(run.notebooks / "05_merge_and_push.ipynb", as_version=4).cells
    shown = "".join(output.get("text", "") for cell in cells if cell.cell_type == "code" for output in cell.outputs)
    assert "peft notes: Merge lora module to 4-bit linear may get different generations" in shown
    assert not [out for cell in cells for out in cell.get("outputs", []) if "Warning: " in out.get("text", "")]
    assert set(hub.repos) == {"alice/tiny", "alice/tiny-adapter"}
    for name, folder in (("alice/tiny", run.merged), ("alice/tiny-adapter", run.adapter)):
        repo, card = hub.repos[name], hub.repos[name].files["README.md"].decode()
        local = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert repo.private and {file: repo.files[file] for file in local} == local and len(repo.commits) == 2
        assert f"{name}: {len(local)} files arrived and are the same, commit {repo.sha[:8]}" in shown
        measured = report["measured"]["adapter" if folder == run.adapter else report["chosen"]]
        assert f"| {measured['nll']:.3f} | {measured['nll_low']:.3f} to " in card
        assert f"The merge report is {report['verdict']}" in card
        assert card.count("**Asked:**") == len(report["examples"]) >= 3
        assert r"mit \(built by this project\)" in card
        assert "hardware: CPU" in card and "not recorded" not in card.partition("cost")[0]
        for file, content in repo.files.items():
            for path in (tmp_path, ROOT):
                assert str(path).encode() not in content, f"a path of this machine is in {file}"
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert hub.tokens["write"].encode() not in path.read_bytes(), f"the token is in {path}"
    code = hub.repos["alice/tiny"].files["README.md"].decode().split("```python\n")[1].split("```")[0]
    ask = """
ids = tokenizer.apply_chat_template([{"role": "user", "content": "안녕하세요"}], add_generation_prompt=True, return_tensors="pt")
print("parameters:", model.num_parameters(), "reply:", model.generate(**ids, max_new_tokens=5).shape)
"""
    done = python(code + ask, hub, "write", run.path, subprocess.run)
    assert done.returncode == 0 and "parameters: " in done.stdout, done.stderr
