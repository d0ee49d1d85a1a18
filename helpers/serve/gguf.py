"""GGUF files of the merged model and of the adapter: made by llama.cpp's own programs, checked, and only then named.

f16     2 bytes a weight; the converter writes it from the merged folder
q8_0    8 bits and a scale per 32 weights     made from the f16 file by llama.cpp's quantiser
q4_k_m  4 to 6 bits, by the kind of weight    the same
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.files import free_bytes, is_full, read_json
from helpers.model.adapter import GGUF_FIELDS, other_fields
from helpers.model.memory import file_bytes
from helpers.serve.checks import check_adapter_tensors, check_logits, check_stops, check_token_ids, exact_model
from helpers.serve.conversion import converter_input, run_converter
from helpers.serve.llama_cpp import packages_of_serve
from helpers.settings import GGUF_FORMATS
from helpers.show.units import human_bytes
from helpers.show.words import _
from helpers.template.chat import adds_bos, stop_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# the numbers that llama.h gives them, and about how large they are beside the f16 file
FILE_TYPES = {"q8_0": 7, "q4_k_m": 15}
SHARE = {"f16": 1.0, "q8_0": 0.55, "q4_k_m": 0.45}


def formats(setting: str) -> list[str]:
    """The setting `gguf_formats` as a list, f16 first and always, since the others are made from it."""
    names = [name.strip() for name in setting.split(",")]
    return [name for name in GGUF_FORMATS if name in names or name == "f16"]


def convert(
    merged: Path, file: Path, tokenizer: PreTrainedTokenizerBase, texts: list[str], base: str = "", revision="main"
) -> Path:
    """The model of the folder `merged` as the f16 file `file`, which passes `checks` on `texts` (prompts).

    `base` (a folder or hub id) gives tokenizer.model where `merged` lacks it: the converter needs its scores. Raises
    ValueError for a model that the converter does not know or a file that is not the same; OSError for a small disk."""
    need_room(file, file_bytes(merged))
    # what llama.cpp puts around a prompt by itself: BOS where the training has it and the tokenizer adds it, never EOS
    begins = adds_bos(tokenizer) and all(text.startswith(str(tokenizer.bos_token)) for text in texts)
    flags = {"tokenizer.ggml.add_bos_token": begins, "tokenizer.ggml.add_eos_token": False}
    pieces = _sentencepiece_file(merged, base, revision)
    with beside(file) as part, converter_input(merged, tokenizer, pieces) as folder:
        keys = {"flags": flags, "stops": stop_ids(tokenizer)}
        run_converter("convert_hf_to_gguf.py", keys, folder, "--outtype", "f16", "--outfile", part)
        check_token_ids(part, tokenizer, texts)
        check_stops(part, tokenizer)
        check_logits(part, exact_model(merged), tokenizer, texts)
    return file


def convert_adapter(
    adapter: Path, base: Path, file: Path, on: Path | None = None, texts: list[str] | None = None
) -> Path:
    """The LoRA adapter as a GGUF file, for llama.cpp's --lora. `base`: a folder with a base model's config.json.

    Such a file has one alpha, and llama.cpp scales by alpha / rank: rsLoRA's alpha is written so that this is its
    scale. `on`: the f16 file of `base`; with it, the logits of `texts` are compared with peft's. Raises ValueError."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    settings = read_json(adapter / "adapter_config.json")
    fields = other_fields(settings, GGUF_FIELDS)
    if settings.get("use_rslora") and settings.get("rank_pattern"):
        fields.append("rank_pattern")  # one alpha cannot give each rank its root
    if fields:
        sentence = _("A GGUF file of an adapter cannot hold {fields}: use the merged model.")
        raise ValueError(sentence.format(fields=", ".join(fields)))
    if settings.get("use_rslora"):
        settings.update(lora_alpha=settings["lora_alpha"] * math.sqrt(settings["r"]), use_rslora=False)
    with beside(file) as part, converter_input(base) as model, tempfile.TemporaryDirectory() as folder:
        shutil.copy(adapter / "adapter_model.safetensors", folder)
        Path(folder, "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
        keys, arguments = {"flags": {}, "stops": []}, (folder, "--outtype", "f16", "--base", model, "--outfile", part)
        run_converter("convert_lora_to_gguf.py", keys, *arguments)
        check_adapter_tensors(part, adapter)
        if on:
            live = PeftModel.from_pretrained(exact_model(base), str(adapter)).eval()
            check_logits(on, live, AutoTokenizer.from_pretrained(base), texts or [], part)
    return file


def quantise(f16: Path, file: Path, kind: str) -> Path:
    """The f16 file in a smaller format, by llama.cpp's quantiser. Raises ValueError when it refuses."""
    with packages_of_serve():
        from cyllama.llama import llama_cpp

    need_room(file, f16.stat().st_size * SHARE[kind])
    settings = llama_cpp.LlamaModelQuantizeParams()
    settings.ftype, settings.nthread = FILE_TYPES[kind], os.cpu_count()
    llama_cpp.disable_logging()
    with beside(file) as part:
        try:
            llama_cpp.model_quantize(str(f16), str(part), settings)
        except RuntimeError as error:
            sentence = _("llama.cpp could not make {kind} of {file}: {reason}.")
            raise ValueError(sentence.format(kind=kind, file=f16.name, reason=error)) from None
    return file


def need_room(file: Path, size: float) -> None:
    """Raises OSError before the work when `size` bytes do not fit beside `file`. (A network volume does not tell.)"""
    file.parent.mkdir(parents=True, exist_ok=True)
    free = free_bytes(file.parent)
    if free is not None and free < size:
        sentence = _(
            "{file} needs about {size}, and {free} are free in {folder}: free some space, or name fewer gguf_formats"
        )
        values = {"file": file.name, "size": human_bytes(size), "free": human_bytes(free), "folder": file.parent}
        raise OSError(errno.ENOSPC, sentence.format(**values))


@contextlib.contextmanager
def beside(file: Path):
    """A path to write to; it gets the name `file` when the block ends well, and is deleted when it does not.

    Neither converter nor quantiser says what stopped it, so then the disk is asked: OSError when it is full."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.stem}.part.gguf")
    try:
        yield part
        os.replace(part, file)
    except (ValueError, OSError):
        if is_full(file.parent):
            sentence = _(
                "The disk or quota of {folder} is full, so {file} could not be written: free some space, or name fewer "
                "gguf_formats. Nothing half-written has a final name"
            )
            raise OSError(errno.ENOSPC, sentence.format(folder=file.parent, file=file.name)) from None
        raise
    finally:
        part.unlink(missing_ok=True)


def _sentencepiece_file(merged: Path, base: str, revision: str) -> Path | None:
    """tokenizer.model of `merged`, else of `base`; None where neither has one."""
    from transformers.utils.hub import cached_file

    if (own := merged / "tokenizer.model").exists():
        return own
    optional = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    found = base and cached_file(base, own.name, revision=revision, **optional)
    return Path(found) if found else None
