"""Before a GGUF file gets its name: it cuts, ends and computes as the model does, by its own flags.

A converter leaves things out without a word: a trained lm_head where the base ties it, a stop token, a scale.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.model.memory import file_bytes, free_memory
from helpers.model.source import ModelSource
from helpers.serve.llama_cpp import LlamaCpp
from helpers.show.words import _
from helpers.template.chat import stop_ids

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LIMIT = 0.3  # of the logits' standard deviation: rounding moves them by some hundredths, a lost weight by whole ones
SAMPLES, LONGEST = 3, 256  # texts that are computed, and their tokens at most
FEW = 0.1  # of a text's tokens may be unsteady


class NotTheSame(ValueError):
    """A file that is not the model it was made from; `what` is "token ids", "stops", "logits" or "tensors"."""

    def __init__(self, sentence: str, what: str):
        super().__init__(sentence)
        self.what = what


def check_token_ids(file: Path, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> None:
    """Raises NotTheSame when llama.cpp cuts one of `texts` into other token ids, as it stands or with what the file's
    own flags put around it, as llama-server and Ollama call it."""
    other = []
    with LlamaCpp(file) as model:
        for text in texts:
            wanted, served = tokenizer(text, add_special_tokens=False).input_ids, model.token_ids(text, served=True)
            plain = model.token_ids(text)
            if not wanted == plain == served:
                other.append((text, wanted, served if plain == wanted else plain))
    if other:
        text, ids, theirs = other[0]
        at = len(os.path.commonprefix([ids, theirs]))
        sentence = _(
            "llama.cpp cuts {count} of {texts} texts into other token ids than this model's tokenizer, so the file "
            "would answer badly and is not kept. First difference: token {place} of {text}, here {tokens}. (A "
            "SentencePiece model needs the base's tokenizer.model beside its weights; otherwise serve the folder with "
            "vLLM.)"
        )
        tokens = tokenizer.convert_ids_to_tokens(ids[at : at + 3])
        values = {"count": len(other), "texts": len(texts), "place": at, "text": repr(text[:40]), "tokens": tokens}
        raise NotTheSame(sentence.format(**values), "token ids")


def check_stops(file: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises NotTheSame when a token that ends a reply here does not end it in llama.cpp."""
    with LlamaCpp(file) as model:
        open_ended = [stop for stop in stop_ids(tokenizer) if not model.ends(stop)]
    if open_ended:
        sentence = _(
            "llama.cpp does not end a reply at {token}, so llama-server would write on and on, and the file is not "
            "kept. Serve the merged folder with vLLM."
        )
        raise NotTheSame(sentence.format(token=repr(tokenizer.decode(open_ended[:1]))), "stops")


def check_logits(
    file: Path,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    lora: Path | None = None,
) -> float:
    """How far llama.cpp's logits are from those of `model`, in their standard deviations, on the shortest of `texts`.

    A few tokens whose logits `model` itself moves when it rounds to 16 bits are left out: there, a difference says
    nothing. Raises NotTheSame above LIMIT, or for numbers that are not finite."""
    import torch

    ids = [tokenizer(text, add_special_tokens=False).input_ids[:LONGEST] for text in texts]
    ids = sorted(filter(None, ids), key=len)[:SAMPLES] or [list(range(min(64, len(tokenizer))))]
    worst = 0.0
    with LlamaCpp(file, max(map(len, ids)), lora=lora) as served, torch.inference_mode():
        for row in ids:
            theirs = torch.from_numpy(served.logits(row, list(range(len(row)))))
            ours = _logits(model, row)
            width = min(theirs.shape[1], ours.shape[1])  # one may be rounded up
            off = _off(theirs[:, :width], ours[:, :width])
            if not off.max() <= LIMIT:
                off = off[_steady(model, row, ours)]
            if not off.max() <= LIMIT:
                sentence = _(
                    "llama.cpp computes something else than the model: its logits are {off} standard deviations away "
                    "(limit {limit}), so its converter left something out, and {file} is not kept. Serve the merged "
                    "folder with vLLM."
                )
                name = (lora or file).name.removeprefix(".").replace(".part", "")
                raise NotTheSame(sentence.format(off=f"{off.max():.2f}", limit=LIMIT, file=name), "logits")
            worst = max(worst, off.max().item())
    return worst


def _logits(model: PreTrainedModel | PeftModel, row: list[int]) -> Tensor:
    """Those of each token of `row`, (tokens, vocabulary) in float32 on the CPU."""
    import torch

    return model(input_ids=torch.tensor([row], device=model.device)).logits[0].float().cpu()


def _steady(model: PreTrainedModel | PeftModel, row: list[int], ours: Tensor) -> Tensor:
    """Which tokens can speak against a file: all, but for a few whose logits `model` itself moves in 16 bits."""
    import torch

    with torch.autocast(model.device.type, dtype=torch.float16):
        unsteady = _off(_logits(model, row), ours) > LIMIT
    return ~unsteady if unsteady.float().mean() <= FEW else torch.ones_like(unsteady)


def _off(logits: Tensor, ours: Tensor) -> Tensor:
    """The largest difference of each token's logits, in standard deviations of all of `ours`."""
    return (logits - ours).abs().amax(1) / ours.std()


def check_adapter_tensors(file: Path, adapter: Path) -> None:
    """Raises NotTheSame when the adapter's GGUF file holds fewer numbers than the adapter has in its LoRA matrices."""
    from gguf import GGUFReader
    from safetensors import safe_open

    with safe_open(str(adapter / "adapter_model.safetensors"), framework="np") as tensors:
        shapes = {name: tensors.get_slice(name).get_shape() for name in list(tensors.keys()) if ".lora_" in name}
    trained = sum(map(math.prod, shapes.values()))
    kept = sum(int(tensor.n_elements) for tensor in GGUFReader(file).tensors)
    if kept != trained:
        sentence = _(
            "llama.cpp's converter kept {kept} of the adapter's {trained} numbers (an lm_head that the base ties is "
            "left out, for example), so the file is not kept: serve the merged model."
        )
        raise NotTheSame(sentence.format(kept=f"{kept:,}", trained=f"{trained:,}"), "tensors")


def exact_model(folder: Path) -> PreTrainedModel:
    """The model of `folder` in float32, on the GPU where it fits; as its files have it where no memory holds that."""
    import torch
    from transformers import AutoModelForCausalLM

    places = [torch.device("cuda")] if torch.cuda.is_available() else []
    places = [place for place in [*places, torch.device("cpu")] if 2.2 * file_bytes(folder) < free_memory(place)]
    settings = {"dtype": torch.float32, "device_map": {"": places[0]}} if places else {"dtype": "auto"}
    source = ModelSource(str(folder), "main", trust=False)
    return AutoModelForCausalLM.from_pretrained(**source.keywords, use_safetensors=True, **settings).eval()
