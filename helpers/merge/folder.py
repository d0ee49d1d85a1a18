"""Where a merge lies: the candidates that are measured, the chosen one, and what a folder needs beside its weights."""

from __future__ import annotations

import contextlib
import errno
import shutil
from pathlib import Path

from helpers.files import free_bytes, read_json, replace_folder
from helpers.model.source import ModelSource
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_bytes

FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota exceeded"}
METHODS = {
    "16bit-base": "the fresh 16-bit base + the adapter",
    "dequantised-base": "the 4-bit base, written out in 16 bits, + the adapter",
}


def methods_to_try(config: RunConfig) -> list[str]:
    """The merges this run measures: the chosen one, or for "auto" every one that applies."""
    if config.merge_method != "auto":
        return [config.merge_method]
    return list(METHODS) if config.load_in_4bit else ["16bit-base"]


def candidate(run: RunDir, method: str, done: bool = False) -> Path:
    """Where the merge by `method` is written until one is chosen; with `done`, where it is now, chosen or not.

    Raises FileNotFoundError when that merge is not there.
    """
    folder = run.merged.with_name(f"merged.{method}")
    if not done or folder.exists():
        return folder
    report = read_json(run.merge_report) if run.merge_report.exists() else {}
    if report.get("chosen") == method and run.merged.exists():
        return run.merged
    raise FileNotFoundError(
        f"The merge {method!r} is not in {run.path}: run the merge cell of 05_merge_and_push.ipynb."
    )


def keep_merge(run: RunDir, method: str) -> None:
    """Make the merge by `method` the run's merged/ and delete the others."""
    chosen = candidate(run, method, done=True)
    if chosen != run.merged:
        replace_folder(chosen, run.merged)
    for other in METHODS:
        shutil.rmtree(candidate(run, other), ignore_errors=True)


# What programs other than transformers read of a tokenizer or processor, and transformers does not write again
# (llama.cpp's converter takes the scores of a SentencePiece model from tokenizer.model).
BESIDE_WEIGHTS = (
    "*.model *.tiktoken tekken.json vocab.json vocab.txt merges.txt added_tokens.json *processor*.json".split()
)


def finish_folder(config: RunConfig, adapter: Path, part: Path, out: Path) -> None:
    """Add the tokenizer that the adapter was trained with, the base's other tokenizer and processor files, and generation
    settings that stop; give `part` its name."""
    from transformers import GenerationConfig

    from helpers.model.tokenizer import load_tokenizer
    from helpers.template.chat import stop_ids

    tokenizer = load_tokenizer(config, source=str(adapter))
    tokenizer.save_pretrained(part)
    base = base_files(config, BESIDE_WEIGHTS)
    for file in (file for pattern in BESIDE_WEIGHTS for file in sorted(base.glob(pattern))):
        if not (part / file.name).exists():
            shutil.copyfile(file, part / file.name)
    stops = stop_ids(tokenizer)
    settings = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id
    )
    settings.save_pretrained(part)
    (part / "fingerprint.json").unlink(missing_ok=True)
    replace_folder(part, out)


def base_files(config: RunConfig, patterns: list[str]) -> Path:
    """The base model's folder, with the files of these patterns downloaded when it is on the hub."""
    return ModelSource.of(config).folder(patterns)


def merging_device() -> str:
    """Where one weight at a time is merged; the model itself stays out of the GPU's memory."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def refuse_not_finite(name: str, weight, why: str) -> None:
    """Raises ValueError, naming the weight, when it holds a number that is not finite."""
    if not weight.isfinite().all():
        raise ValueError(f"The merged weight {name} is not finite: {why}. Nothing was written under a final name.")


def check_disk(part: Path, missing: int) -> None:
    """Raises OSError when the disk of `part` has less than `missing` bytes free, as far as it says (a network volume does not)."""
    free = free_bytes(part)
    if free is not None and missing * 1.02 > free:
        raise OSError(
            f"The merge writes {human_bytes(missing)} and {part.parent} has {human_bytes(free)} free: free some space, "
            "or move the runs with QLORA_RUNS_DIR."
        )


@contextlib.contextmanager
def starting_afresh(part: Path):
    """An empty folder `part` for the block; when the block fails, it is deleted, and a full disk is one sentence (OSError)."""
    shutil.rmtree(part, ignore_errors=True)
    try:
        with full_disk_told(part):
            yield
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


@contextlib.contextmanager
def full_disk_told(folder: Path):
    """Turn a full disk or quota inside the block into one sentence (OSError with its errno kept)."""
    try:
        yield
    except Exception as error:  # safetensors has an exception of its own, with the number in its text
        number = getattr(error, "errno", None) or next((n for n in FULL if f"os error {n})" in str(error)), None)
        if number not in FULL:
            raise
        raise OSError(
            number,
            f"The disk or quota of {folder.parent} is full ({FULL[number]}): free some space and run the cell again, or move "
            "the runs with QLORA_RUNS_DIR. Nothing half-written has a final name.",
        ) from None
