"""The model in a page, on a real run: how large, how soon, and does the browser write what llama.cpp writes here?

    python -m proofs.proof_share demo

Chromium without a GPU, one thread: a plain server of static files.
2026-11-30, 2-core AMD EPYC busy with the tests: two files of 105 MB (q4_k_m), 10.5 MB of llama.cpp; the first token of
the fine-tuned model after 2.5 to 7.1 s, its whole reply after 6.3 to 17.6 s. It writes the same reply as llama.cpp here
for 8 of 8 questions, the base, which rambles on to 64 tokens, for 2 of 8: near ties. Looked into (on a 2-core Intel
Xeon) for three of the questions: where the base's replies part, its two best tokens are 0.12 and 0.18 apart (logits;
their spread is 7.5), and llama.cpp itself moves a logit by 0.25 on average (1.9 at most) when it reads the same tokens
one by one and not at once, as its kernels round otherwise: by that alone, all three replies become others.
"""

import functools
import http.server
import json
import sys
import threading

from playwright.sync_api import sync_playwright
from transformers import AutoTokenizer

from helpers.paths import runs_root
from helpers.runs import RunDir
from helpers.serve.llama_cpp import LlamaCpp
from helpers.serve.share import share
from helpers.show.units import human_bytes
from helpers.template.chat import prompt_ids, stop_ids
from tests.browser.lab import BROWSER


def main(name: str) -> None:
    run = RunDir(runs_root() / name)
    config = run.stored_config()
    page = share(run, config, examples=True)
    settings = json.loads(page.read_text().split("const settings = ", 1)[1].split(";\n", 1)[0])
    files = [*page.parent.glob("*.gguf"), *(page.parent / "wllama").iterdir()]
    print({file.name: human_bytes(file.stat().st_size) for file in files})
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=page.parent)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"]).new_page()
        tab.set_default_timeout(0)
        tab.goto(f"http://127.0.0.1:{server.server_port}")
        there = []
        for question in settings["examples"]:
            there.append(tab.evaluate("question => window.askBoth(question)", question))
            print({who: tab.inner_text(f"#{who}-time") for who in ("base", "tuned")}, flush=True)
        tab.screenshot(path=str(page.parent / "page.png"), full_page=True)
    tokenizer = AutoTokenizer.from_pretrained(run.merged)
    for who in ("base", "tuned"):
        same, near = 0, []
        with LlamaCpp(page.parent / f"{who}.gguf", 1024) as model:
            for question, replies in zip(settings["examples"], there, strict=True):
                asked = [*settings["before"], {"role": "user", "content": settings["prefix"] + question}]
                prompt = prompt_ids(tokenizer, asked)
                ids = model.replies([prompt], config.max_new_tokens, stop_ids(tokenizer))[0]
                if replies[who] == tokenizer.decode(ids, skip_special_tokens=True):
                    same += 1
                else:
                    near.append(tie(model, tokenizer, prompt, ids, replies[who]))
        print(f"{who}: the same reply for {same} of {len(there)}", *near, sep="\n")


def tie(model: LlamaCpp, tokenizer, prompt: list[int], ids: list[int], other: str) -> str:
    """Where the reply `ids` of `model` parts from the text `other`: how near its two best tokens are there, beside what
    llama.cpp itself changes when it reads the same tokens one by one and not at once."""
    parts = max(k for k in range(len(ids)) if other.startswith(tokenizer.decode(ids[:k], skip_special_tokens=True)))
    text = prompt + ids[:parts]
    [at_once] = model.logits(text, [len(text) - 1])
    for place, token in enumerate(text):
        single = model._decode([(0, place, [token], {0})], new=place == 0)[0]
    second, best = sorted(at_once)[-2:]
    change = abs(single - at_once)
    return (
        f"  token {parts + 1}: {best - second:.2f} apart; one by one {change.mean():.2f} ({change.max():.2f} at most)"
    )


if __name__ == "__main__":
    main(sys.argv[1])
