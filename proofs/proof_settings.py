"""Every field of RunConfig, at its ends and at usual other values, through the code cells of 03 to 06. Run by hand:

    python -m proofs.proof_settings [FIELD ...]

The cells run in one process on preset tiny, on 40 rows and 2 steps; settings of the training alone up to 04. A value
goes through, or 03 (or RunConfig itself) refuses it in one sentence; anything else is a fault.

2026-11-28, 2-core AMD EPYC CPU with AVX512-BF16, in two halves: all 200 values, no fault; 172 through, 28 refused in a
sentence. 20 minutes, about 13 of them without other work beside.

What earlier runs found is mended: three schedules that need more than a name, lm_head as a target, a model that cannot
be loaded, dataset_config and dataset_split that say nothing about one file, a seed below 0 or over 2^32 - 1, a packed
step of more than 4,096 rows.
"""

import contextlib
import gc
import io
import os
import shutil
import sys
import tempfile
import time
import warnings
from dataclasses import fields
from pathlib import Path

import nbformat

from helpers.settings import RULES, RunConfig
from tests.conftest import ROOT

SMALL = {"max_rows": 40, "max_eval_rows": 6, "max_steps": 2, "save_steps": 2, "eval_steps": 2, "max_new_tokens": 8}
# Usual other values of fields that have no list or range, or where the ends say little
OTHERS = {
    "run_name": ["try-1", "두 번째"],
    "seed": [0, 7, 2**32 - 1, 2**40, -1],
    "model_id": ["no/such-model", "build:other", "pip:nothing-here"],
    "model_revision": ["main", "0" * 40],
    "dataset_id": ["missing.csv", "notebooks/data/sample_ko_instructions.jsonl:2"],
    "chat_template": ["no-thought", "missing.jinja"],
    "dataset_config": ["none-such"],
    "dataset_split": ["train[:50%]", "test", "validation"],
    "dataset_revision": ["main"],
    "dataset_format": ["messages", "open-korean-instructions", "poems"],
    "max_rows": [0, 1, 2, 12],
    "eval_fraction": [0.01, 0.5],
    "max_eval_rows": [1, 2],
    "max_length": [64, 256],
    "lora_target_modules": ["q_proj,v_proj", "all-linear", "q_proj", "lm_head", "embed_tokens", "nothing", ""],
    "lora_r": [3, 64],
    "num_train_epochs": [0.5, 2],
    "max_steps": [0, 1, 3],
    "warmup_steps": [0.5, 1, 100],
    "max_grad_norm": [0.3],
    "training_seed": [3],
    "learning_rate": [1e-3],
    "lr_scheduler_type": ["linear", "constant", "constant_with_warmup", "cosine_with_restarts", "inverse_sqrt",
                          "reduce_lr_on_plateau", "polynomial", "warmup_stable_decay", "cosine_with_min_lr", "none"],
    "optim": ["adamw_torch_fused", "paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit", "adafactor", "sgd",
              "lion_32bit", "galore_adamw", "adamw_apex_fused", "adam"],
    "save_steps": [1, 3],
    "eval_steps": [1, 3],
    "logging_steps": [1],
    "save_minutes": [0.01],
    "sample_steps": [1],
    "max_new_tokens": [1, 64],
    "temperature": [0.7, 0.01],
    "require": ["exact >= 0.8"],
    "hub_repo": ["me/mine", "not a repository"],
    "gguf_formats": ["f16", "q8_0", "q9_9"],
    "gpu": ["RTX 4090 24 GB", "abacus"],
    "prices": ["RTX 4090 24 GB: 0.34", "cheap"],
}  # fmt: skip
# Ends that only cost time, or that mean the outside world
LEFT_OUT = {"preset", "push"}
# What ends with the adapter, and with the data: 05 and 06 do not read it
UP_TO_04 = set(
    "seed dataset_split dataset_config dataset_revision dataset_format packing answer_only_loss lora_dropout "
    "num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps per_device_eval_batch_size "
    "learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm optim activation_checkpointing "
    "sort_by_length "
    "logging_steps eval_steps save_steps save_minutes save_total_limit sample_steps report_to allow_label_issues "
    "gpu volume_gb price_per_hour prices gguf_formats".split()
)


def cases() -> list[tuple[str, object]]:
    """(field, value) of every value that is tried."""
    found = []
    for field in fields(RunConfig):
        values = list(OTHERS.get(field.name, ()))
        rules = RULES[field.name]
        values += rules["choices"] or [limit for limit in (rules["low"], rules["high"]) if limit is not None]
        values += [True, False] if field.type == "bool" else []
        found += [(field.name, value) for value in dict.fromkeys(values) if field.name not in LEFT_OUT]
    return [
        case for case in found if case != ("max_steps", RULES["max_steps"]["high"])
    ]  # it goes through, in some years


def code_cells(number: str) -> list[str]:
    """The code cells of the notebook with this number."""
    book = nbformat.read(next((ROOT / "notebooks").glob(f"{number}_*.ipynb")), as_version=4)
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def outcome(name: str, value: object) -> str:
    """ "through", "refused: ..." by RunConfig or 03 in one sentence, or "FAULT ..."."""
    with tempfile.TemporaryDirectory() as runs, _environment({**SMALL, name: value}, runs):
        for number in ("03", "04") if name in UP_TO_04 else ("03", "04", "05", "06"):
            space = {"__name__": "__main__"}
            for place, source in enumerate(code_cells(number)):
                try:
                    exec(compile(source, f"{number} cell {place}", "exec"), space)
                except (ValueError, FileNotFoundError) as error:
                    told = " ".join(str(error).split())
                    if number == "03" and len(told.split()) > 4:
                        return f"refused: {told}"
                    return f"FAULT in {number}, code cell {place}: {type(error).__name__}: {told}"
                except Exception as error:
                    return f"FAULT in {number}, code cell {place}: {type(error).__name__}: {error}"
            space.clear()
            gc.collect()
    return "through"


@contextlib.contextmanager
def _environment(settings: dict, runs: str):
    """QLORA_ variables for `settings`, the notebooks' folder, and no output, while the block runs."""
    import matplotlib

    matplotlib.use("Agg")
    kept, here = dict(os.environ), Path.cwd()
    for variable in [variable for variable in os.environ if variable.startswith("QLORA_") and "CACHE" not in variable]:
        del os.environ[variable]
    os.environ |= {f"QLORA_{name.upper()}": str(value) for name, value in settings.items()}
    os.environ |= {"QLORA_PRESET": "tiny", "QLORA_RUNS_DIR": runs, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
    os.chdir(ROOT / "notebooks")
    try:
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(kept)


def main() -> int:
    wanted, faults, start = sys.argv[1:], 0, time.perf_counter()
    tried = [case for case in cases() if not wanted or case[0] in wanted]
    for name, value in tried:
        begun = time.perf_counter()
        told = outcome(name, value)
        faults += told.startswith("FAULT")
        print(f"{time.perf_counter() - begun:5.1f} s  {name}={value!r}: {told[:400]}", flush=True)
    print(f"{len(tried)} values, {faults} faults, {time.perf_counter() - start:.0f} s")
    shutil.rmtree(ROOT / "notebooks" / "wandb", ignore_errors=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
