"""Where a merge lies: the candidates that are measured, the chosen one, and what a folder needs beside its weights."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from helpers.files import free_bytes, give_usual_modes, read_json, replace_folder, write_json
from helpers.model.generation import OF_THE_MODEL
from helpers.model.quantise import off_levels_of, rounded, through_4bit
from helpers.model.source import ModelSource
from helpers.model.tokenizer import load_tokenizer
from helpers.model.weights import without_code
from helpers.runs import RunDir
from helpers.settings import RunConfig
from helpers.show.units import human_bytes
from helpers.show.words import N_, _
from helpers.template.chat import stop_ids

FULL = {errno.ENOSPC: N_("no space left"), errno.EDQUOT: N_("quota exceeded")}
LARGEST_FILE = 2_000_000_000  # bytes
# the fresh base, or the 4-bit one written out in 16 bits, + the adapter; or that sum rounded to 4 bits and written out
METHODS = ("16bit-base", "dequantised-base", "requantised")


def shard_bytes(total: int) -> int:
    """Of a weight file, about the merge's memory: a quarter of the model, so a killed one goes on; at most 2 GB."""
    return min(LARGEST_FILE, max(total // 4, 1))


def methods_to_try(config: RunConfig) -> list[str]:
    """The merges this run measures: the chosen one, or for "auto" every one that applies."""
    if config.merge_method != "auto":
        return [config.merge_method]
    if config.merge_aware:
        return ["requantised"]  # the others are not the model that was trained
    return ["16bit-base", "dequantised-base"] if config.load_in_4bit else ["16bit-base"]


def roundings(config: RunConfig, method: str) -> tuple[Callable | None, Callable | None]:
    """What rounds a weight that the model holds in 4 bits, (before, after) the adapter is added; None: nothing does."""
    if method == "requantised":
        kind = {"quant_type": config.quant_type, "double_quant": config.double_quant}
        return partial(off_levels_of, config=config), partial(rounded, **kind)
    return (partial(through_4bit, config=config) if method == "dequantised-base" else None), None


def candidate(run: RunDir, method: str, done: bool = False) -> Path:
    """Where the merge by `method` is written; with `done`, where it is now, chosen or not. Raises FileNotFoundError."""
    folder = run.merged.with_name(f"merged.{method}")
    if not done or folder.exists():
        return folder
    report = read_json(run.merge_report) if run.merge_report.exists() else {}
    if report.get("chosen") == method and run.merged.exists():
        return run.merged
    sentence = _("The merge {method} is not in {folder}: run the merge cell of 05_merge_and_push.ipynb.")
    raise FileNotFoundError(sentence.format(method=method, folder=run.path))


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


def finish_folder(config: RunConfig, adapter: Path, part: Path, out: Path, own_code: bool = False) -> None:
    """Add the adapter's tokenizer, the base's other tokenizer and processor files, and generation settings that stop.

    Gives `part` its name. `own_code`: the model is Python code of its repository, and stays so.
    """
    from transformers import GenerationConfig

    tokenizer = load_tokenizer(config, source=str(adapter))
    tokenizer.save_pretrained(part)
    base = ModelSource.of(config).folder([*BESIDE_WEIGHTS, "generation_config.json"])
    for pattern in BESIDE_WEIGHTS:
        for file in base.glob(pattern):
            if not (part / file.name).exists():
                shutil.copyfile(file, part / file.name)
    file = base / "generation_config.json"
    settings = read_json(file) if file.exists() else {}
    kept = {name: settings[name] for name in OF_THE_MODEL if settings.get(name)}
    ids = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    GenerationConfig(**ids, eos_token_id=stop_ids(tokenizer), **kept).save_pretrained(part)
    write_old_names(part / "config.json")
    if not own_code:
        without_code(part)
    (part / "fingerprint.json").unlink(missing_ok=True)
    give_usual_modes(part)
    replace_folder(part, out)


def write_old_names(file: Path) -> None:
    """Add the names by which transformers 4 reads config.json: without them, rope_theta is 10000 and not scaled."""
    settings = read_json(file)
    for part in filter(None, (settings, settings.get("text_config"))):
        if "dtype" in part:
            part["torch_dtype"] = part["dtype"]
        rope = part.get("rope_parameters") or {}
        part |= _old_rope(str(part.get("model_type")), dict(rope.get("full_attention", rope)))
        if local := rope.get("sliding_attention"):  # Gemma 3, ModernBERT's decoder
            part["rope_local_base_freq"] = part["local_rope_theta"] = local["rope_theta"]
            part["global_rope_theta"] = part["rope_theta"]
    write_json(file, settings)


def _old_rope(kind: str, rope: dict) -> dict:
    """One of `rope_parameters` in the words of transformers 4."""
    if "rope_theta" not in rope:
        return {}
    old = {"rope_theta": rope.pop("rope_theta")}
    if (share := rope.pop("partial_rotary_factor", None)) is not None:
        old["partial_rotary_factor"] = share
    if kind.startswith("gpt_neox"):
        old |= {"rotary_emb_base": old["rope_theta"], "rotary_pct": share}
    if kind.startswith("phi3") and "long_factor" in rope:  # whose scaling has three words and no more
        old["original_max_position_embeddings"] = rope["original_max_position_embeddings"]
        rope = {"type": rope["rope_type"]} | {name: rope[name] for name in ("short_factor", "long_factor")}
    plain = rope.keys() <= {"rope_type", "type"} and rope.get("rope_type", "default") == "default"
    return {**old, "rope_scaling": None if plain else rope}


def merging_device() -> str:
    """Where one weight at a time is merged; the model itself stays out of the GPU's memory."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def not_finite(name: str, why: str) -> ValueError:
    """The refusal of a merged weight that holds a number that is not finite."""
    sentence = _("The merged weight {name} is not finite: {why}. Nothing was written under a final name.")
    return ValueError(sentence.format(name=name, why=why))


def check_disk(part: Path, missing: int) -> None:
    """Raises OSError when the disk of `part` has less than `missing` bytes free; a network volume does not say."""
    free = free_bytes(part)
    if free is not None and missing * 1.02 > free:
        sentence = _(
            "The merge writes {size} and {folder} has {free} free: free some space, or move the runs with "
            "QLORA_RUNS_DIR."
        )
        raise OSError(sentence.format(size=human_bytes(missing), folder=part.parent, free=human_bytes(free)))


@contextlib.contextmanager
def full_disk_explained(folder: Path):
    """Turn a full disk or quota inside the block into one sentence (OSError with its errno kept)."""
    try:
        yield
    except Exception as error:  # safetensors has an exception of its own, with the number in its text
        number = getattr(error, "errno", None) or next((n for n in FULL if f"os error {n})" in str(error)), None)
        if number not in FULL:
            raise
        sentence = _(
            "The disk or quota of {folder} is full ({reason}): free some space and run the cell again, or move the "
            "runs with QLORA_RUNS_DIR. Nothing half-written has a final name."
        )
        raise OSError(number, sentence.format(folder=folder.parent, reason=_(FULL[number]))) from None
