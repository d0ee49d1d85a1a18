"""The page that carries the model: llama.cpp in the browser answers as llama.cpp does here, and votes come back as a
file."""

import functools
import http.server
import json
import shutil
import subprocess
import threading

import pytest
from transformers import AutoTokenizer

from helpers.evaluate.voting import vote_summary
from helpers.runs import RunDir
from helpers.serve import share as sharing
from helpers.serve.llama_cpp import LlamaCpp
from helpers.template.chat import prompt_ids, stop_ids
from tests.browser.look import too_wide

TOKENS = 12


@pytest.fixture(scope="module")
def npm():
    """npm, where it reaches its packages: it fetches llama.cpp in WebAssembly."""
    found = shutil.which("npm")
    if not found or subprocess.run([found, "view", sharing.WLLAMA, "version"], capture_output=True).returncode:
        pytest.skip("no npm here, or none that reaches its packages")


@pytest.fixture(scope="module")
def shared(npm, whole_run, tmp_path_factory):
    """A copy of the finished run with its page in RUN/share."""
    run = RunDir(tmp_path_factory.mktemp("shared") / whole_run.path.name)
    shutil.copytree(whole_run.path, run.path, ignore=shutil.ignore_patterns("trainer", "notebooks"))
    sharing.share(run, run.stored_config(), examples=True)
    return run


@pytest.fixture(scope="module")
def address(shared):
    """A plain server of static files, as any web host is one."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=shared.path / "share")
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def settings_of(run: RunDir) -> dict:
    page = (run.path / "share/index.html").read_text()
    return json.loads(page.split("const settings = ", 1)[1].split(";\n", 1)[0])


@pytest.mark.slow
def test_the_browser_writes_what_llama_cpp_writes_here(browser, shared, address):
    tokenizer, settings = AutoTokenizer.from_pretrained(shared.merged), settings_of(shared)
    tab = browser.new_page(viewport={"width": 390, "height": 900})
    wrong = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "request", lambda asked: None if asked.url.startswith((address, "blob:", "data:")) else wrong.append(asked.url)
    )
    tab.goto(address)
    assert too_wide(tab) == []
    tab.evaluate(f"window.limit({TOKENS})")
    there = [tab.evaluate("question => window.askBoth(question)", question) for question in settings["examples"]]
    for name in ("base", "tuned"):
        with LlamaCpp(shared.path / f"share/{name}.gguf", 512) as model:
            for question, replies in zip(settings["examples"], there, strict=True):
                ids = prompt_ids(tokenizer, [*settings["before"], {"role": "user", "content": question}])
                here = model.replies([ids], TOKENS, stop_ids(tokenizer))[0]
                assert replies[name] == tokenizer.decode(here, skip_special_tokens=True)
    assert len(there) == 8 and not wrong


def test_votes_come_back_as_a_file_that_is_only_data(browser, shared, address, tmp_path):
    pairs = settings_of(shared)["pairs"]
    tab = browser.new_page()
    tab.goto(address)
    for _pair in pairs:
        tab.click("button.vote[data-choice=A]")
    with tab.expect_download() as download:
        tab.click("#save")
    file = tmp_path / "votes.jsonl"
    download.value.save_as(file)
    strange = [[1], {"choice": "A"}, {"key": pairs[0]["key"], "choice": "Z"}, {"key": ["x"], "choice": "B"}]
    file.write_text(file.read_text() + "".join(json.dumps(line) + "\n" for line in strange))
    assert sharing.add_votes(shared, file) == len(pairs) > 1
    votes = vote_summary(shared)
    assert votes["base"] + votes["adapter"] == len(pairs)
    assert "models" not in pairs[0]  # which reply is whose stays in the run


def test_other_bytes_than_the_known_ones_are_not_kept(npm, tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "INTEGRITY", "other")
    with pytest.raises(sharing.CannotShare):
        sharing.fetch_wllama(tmp_path / "wllama")
    assert not list(tmp_path.iterdir())
