"""llama.cpp's own server, in this process: a question as messages over HTTP, as other programs ask it."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.serve.llama_cpp import LlamaCpp, packages_of_serve
from helpers.template.capabilities import fold
from helpers.template.chat import prompt_ids, stop_ids, takes_system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerBase


@contextlib.contextmanager
def llama_server(file: Path, tokens: int) -> Iterator[str]:
    """The address of a server of this GGUF file for texts of `tokens`, on the CPU; it ends with the block."""
    import torch

    with packages_of_serve():
        import xllamacpp

    library: Any = xllamacpp
    settings = library.CommonParams()
    settings.model.path, settings.n_ctx, settings.warmup, settings.n_gpu_layers = str(file), tokens, False, 0
    settings.n_parallel, settings.cpuparams.n_threads = 1, torch.get_num_threads()
    settings.verbosity = -1
    server = library.Server(settings)
    try:
        yield server.listening_address
    finally:
        del server


def ask_server(
    address: str, tokenizer: PreTrainedTokenizerBase, messages: list[dict], max_new_tokens: int
) -> tuple[list[int], list[int]]:
    """(token ids of the prompt, token ids of the greedy reply, its stop token included), both as the server has them.

    The server fills in the template that lies in the file; `messages` may be a `chat.Prompt` with tools."""
    written = json.dumps(list(messages if takes_system(tokenizer) else fold(messages)))
    talk = {"messages": json.loads(written, object_hook=_arguments_as_text)}
    if tools := getattr(messages, "tools", None):
        talk["tools"] = tools
    prompt = post(address, "apply-template", talk)["prompt"]
    cut = post(address, "tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"]
    settings = {"n_predict": max_new_tokens, "temperature": 0, "return_tokens": True, "cache_prompt": False}
    return cut, post(address, "completion", {"prompt": prompt, **settings})["tokens"]


def _arguments_as_text(part: dict) -> dict:
    """Arguments of tool calls are JSON text in this protocol."""
    if isinstance(part.get("arguments"), dict):
        part["arguments"] = json.dumps(part["arguments"], ensure_ascii=False)
    return part


def post(address: str, path: str, body: dict) -> dict:
    """The server's answer to `body`, as JSON."""
    request = urllib.request.Request(
        f"{address}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def served_alike(
    file: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[list[dict]], max_new_tokens: int
) -> tuple[int, int]:
    """Of these prompts, sent to llama-server as messages: (asked with our token ids, answered as the file is here)."""
    ids, stops = [prompt_ids(tokenizer, messages) for messages in prompts], stop_ids(tokenizer)
    tokens = max(map(len, ids)) + max_new_tokens
    with LlamaCpp(file, tokens) as model:
        here = [model.replies([row], max_new_tokens, stops)[0] for row in ids]
    with llama_server(file, -(-tokens // 256) * 256) as address:
        there = [ask_server(address, tokenizer, messages, max_new_tokens) for messages in prompts]
    asked = sum(mine == theirs for mine, (theirs, _reply) in zip(ids, there, strict=True))
    return asked, sum(mine == reply for mine, (_ids, reply) in zip(here, there, strict=True))
