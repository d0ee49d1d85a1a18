"""The commands that start other programs, with values that those programs accept, serving what was measured."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from helpers.files import read_json
from helpers.model.adapter import PLAIN_FIELDS, other_fields
from helpers.model.source import longest_text
from helpers.settings import RunConfig, signed
from helpers.show.words import _

# vLLM's choices for --max-lora-rank: it keeps room for adapters up to that rank
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
OTHER_TEMPLATES = "additional_chat_templates"  # a tokenizer's folder for those that are not its default: tool_use.jinja
GREEDY = json.dumps({"temperature": 0.0})  # as measured; vLLM's own is 1.0, or what the base's settings say


def context_length(longest: int | None, needed: int) -> int:
    """Tokens of a served conversation: 4,096, or what training and reply `needed`; never over the model's `longest`."""
    return min(longest or 4096, max(needed, 4096))


def served_context(folder: Path, config: RunConfig) -> int:
    """`context_length` for the model in `folder`, served for conversations as long as this run's."""
    from transformers import AutoConfig

    longest = longest_text(AutoConfig.from_pretrained(folder))
    return context_length(longest, config.max_length + config.max_new_tokens)


def vllm_command(
    model: str | Path, context: int, adapter: Path | None = None, name: str = "", revision: str = "main",
    settings: str | Path = "vllm",
) -> str:  # fmt: skip
    """Greedy `vllm serve` for a folder or hub id, or for a base `model` with the LoRA `adapter` on top, as `name`.

    `settings`: the folder whose generation_config.json has the stop tokens of the training, where the base's do not.
    Raises ValueError for an adapter that vLLM does not serve: it knows one rank and one alpha for all modules."""
    words = ["vllm", "serve", str(model), "--dtype", "auto", "--max-model-len", str(context)]
    if revision != "main":
        words += ["--revision", revision, "--tokenizer-revision", revision]
    if adapter:
        words += ["--generation-config", str(settings), *_adapter_words(Path(adapter), name)]
    return shlex.join([*words, "--override-generation-config", GREEDY])


def _adapter_words(adapter: Path, name: str) -> list[str]:
    settings = read_json(adapter / "adapter_config.json")
    if fields := other_fields(settings, PLAIN_FIELDS):
        sentence = _("vLLM does not serve this adapter as it was trained ({fields}): serve the merged model.")
        raise ValueError(sentence.format(fields=", ".join(fields)))
    rank = settings.get("r")
    rooms = [size for size in VLLM_RANKS if type(rank) is int and size >= rank > 0]
    if not rooms:
        sentence = _("lora_r={rank!r} is no rank that vLLM serves (1 to {most}): serve the merged model.")
        raise ValueError(sentence.format(rank=rank, most=VLLM_RANKS[-1]))
    words = ["--enable-lora", "--max-lora-rank", str(rooms[0]), "--lora-modules", f"{name or adapter.name}={adapter}"]
    template, tokenizer = adapter / "chat_template.jinja", adapter / "tokenizer_config.json"
    several = (adapter / OTHER_TEMPLATES).is_dir()  # --chat-template takes one
    if template.exists() and not several:
        words += ["--chat-template", str(template)]
    elif several or (tokenizer.exists() and read_json(tokenizer).get("chat_template")):  # as transformers 4 saved it
        words += ["--tokenizer", str(adapter)]
    return words


def llama_server_command(file: Path, context: int, lora: Path | None = None, template: Path | None = None) -> str:
    """`llama-server` for a GGUF file; for an adapter's file on a base's, with the `template` of its training.

    Raises ValueError for a template beside which there are others: the command takes one, a merged file has them all.
    """
    if template and (template.parent / OTHER_TEMPLATES).is_dir():
        sentence = _(
            "llama-server takes one chat template, and beside {file} there are others: serve the merged model."
        )
        raise ValueError(sentence.format(file=template))
    words = ["llama-server", "-m", str(file), "-c", str(context), "--temp", "0", "--jinja"]
    words += ["--lora", str(lora)] if lora else []
    words += ["--chat-template-file", str(template)] if template else []
    return shlex.join(words)


def ollama_commands(folder: Path, name: str) -> str:
    """`ollama create` and `ollama run` for the Modelfile in `folder`."""
    model = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-") or "model"  # what Ollama takes as a name
    if not name.isascii() or len(model) > 80:  # what is lost keeps two names apart: the second would replace the first
        model = signed(model[:71], name)
    return f"cd {shlex.quote(str(folder))} && ollama create {model} -f Modelfile && ollama run {model}"
