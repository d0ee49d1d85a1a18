"""The commands that start other programs, with values that those programs accept."""

from __future__ import annotations

import shlex
from pathlib import Path

from helpers.files import read_json

# vLLM's choices for --max-lora-rank: it keeps room for adapters up to that rank
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def context_length(longest: int | None, needed: int) -> int:
    """Tokens of a served conversation: 4,096, more where training and reply `needed` more, never over the model's `longest`."""
    return min(longest or 4096, max(needed, 4096))


def vllm_rank(rank: int) -> int:
    """The smallest of VLLM_RANKS that holds `rank`. Raises ValueError above 512."""
    if rank > VLLM_RANKS[-1]:
        raise ValueError(f"lora_r={rank} is more than vLLM serves (at most {VLLM_RANKS[-1]}): serve the merged model.")
    return next(size for size in VLLM_RANKS if size >= rank)


def vllm_command(model: str, context: int, adapter: Path | None = None, name: str = "") -> str:
    """`vllm serve` for a folder or hub id, or for a base `model` with the LoRA `adapter` on top, served as `name`.

    Raises ValueError for an adapter that vLLM does not serve.
    """
    words = ["vllm", "serve", str(model), "--dtype", "auto", "--max-model-len", str(context)]
    if adapter:
        settings = read_json(adapter / "adapter_config.json")
        for field, what in (("use_dora", "DoRA"), ("modules_to_save", "modules_to_save"), ("bias", "biases")):
            if settings.get(field) not in (None, False, [], "none"):
                raise ValueError(f"This adapter has {what}, which vLLM does not serve: serve the merged model.")
        rank = vllm_rank(max([settings["r"], *settings.get("rank_pattern", {}).values()]))
        words += ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules", f"{name}={adapter}"]
    return shlex.join(words)


def ollama_commands(folder: Path, name: str) -> str:
    """`ollama create` and `ollama run` for the Modelfile in `folder`."""
    model = shlex.quote(name.lower())  # Ollama's names are in small letters
    return f"cd {shlex.quote(str(folder))} && ollama create {model} -f Modelfile && ollama run {model}"
