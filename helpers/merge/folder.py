"""Where a merge lies: the candidates that are measured, the chosen one, and what a folder needs beside its weights."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from helpers.config import RunConfig
from helpers.runs import RunDir

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
    report = json.loads(run.merge_report.read_text(encoding="utf-8")) if run.merge_report.exists() else {}
    if report.get("chosen") == method and run.merged.exists():
        return run.merged
    raise FileNotFoundError(
        f"The merge {method!r} is not in {run.path}: run the merge cell of 05_merge_and_push.ipynb."
    )


def keep_merge(run: RunDir, method: str) -> None:
    """Make the merge by `method` the run's merged/ and delete the others."""
    chosen = candidate(run, method, done=True)
    if chosen != run.merged:
        shutil.rmtree(run.merged, ignore_errors=True)
        os.replace(chosen, run.merged)
    for other in METHODS:
        shutil.rmtree(candidate(run, other), ignore_errors=True)


def finish_folder(config: RunConfig, adapter: Path, part: Path, out: Path) -> None:
    """Add the tokenizer that the adapter was trained with and generation settings that stop; give `part` its name."""
    from transformers import GenerationConfig

    from helpers.model.chat import load_tokenizer, stop_ids

    tokenizer = load_tokenizer(config, source=str(adapter))
    tokenizer.save_pretrained(part)
    stops = stop_ids(tokenizer)
    settings = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id
    )
    settings.save_pretrained(part)
    (part / "fingerprint.json").unlink(missing_ok=True)
    if out.exists():
        shutil.rmtree(out)
    os.replace(part, out)
