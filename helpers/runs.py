"""`RunDir`: the one owner of paths. Every notebook reads and writes one run directory, and nothing else.

runs/<run_name>/
  config.json  data/train.jsonl  data/eval.jsonl  data_report.json  trainer/  metrics.jsonl
  adapter/  merged/  merge_receipt.json  evaluation.json  comparisons.jsonl  votes.jsonl  report.html  notebooks/
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.config import PROJECT_ROOT, RunConfig

# What a training run is made of: changing one of these under a trained adapter would mix two runs in one folder.
SHAPES_THE_TRAINING = (
    "seed model_id dataset_id dataset_split dataset_format max_rows eval_fraction max_eval_rows max_length packing "
    "answer_only_loss load_in_4bit quant_type double_quant compute_dtype lora_r lora_alpha lora_dropout "
    "lora_target_modules use_rslora num_train_epochs max_steps per_device_train_batch_size "
    "gradient_accumulation_steps learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm optim "
    "sort_by_length"
).split()

# What was really loaded, recorded beside its source. It belongs to that source alone.
RECORDED = {"model_revision": "model_id", "dataset_revision": "dataset_id"}


def runs_root() -> Path:
    """QLORA_RUNS_DIR, else /workspace/runs on a pod, else runs/ in the project's folder."""
    if folder := os.environ.get("QLORA_RUNS_DIR"):
        return Path(folder).expanduser().resolve()
    workspace = Path("/workspace")
    return workspace / "runs" if os.access(workspace, os.W_OK) else PROJECT_ROOT / "runs"


def write_atomic(path: Path, text: str) -> None:
    """Write `text` beside `path`, then rename: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value) -> None:
    """`value` as readable JSON, written atomically."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def replace_folder(draft: Path, folder: Path) -> None:
    """Put the finished folder `draft` in the place of `folder`, so that a reader never sees half of it."""
    old = folder.with_name(f".{folder.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(draft, folder)
    shutil.rmtree(old, ignore_errors=True)


def read_jsonl(path: Path) -> list[dict]:
    """All rows of a JSON-lines file. A last line cut off by a kill is left out."""
    rows = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline after it: a write that was cut off
                break
            raise ValueError(f"{path.name}, line {number} is not JSON ({error.msg}): {line[:80]!r}") from None
    return rows


@dataclass(frozen=True)
class RunDir:
    """The folder of one run; its properties are the only places where file names are spelled."""

    path: Path

    config_json = property(lambda self: self.path / "config.json")
    train_jsonl = property(lambda self: self.path / "data" / "train.jsonl")
    eval_jsonl = property(lambda self: self.path / "data" / "eval.jsonl")
    data_report = property(lambda self: self.path / "data_report.json")
    trainer = property(lambda self: self.path / "trainer")
    metrics = property(lambda self: self.path / "metrics.jsonl")
    adapter = property(lambda self: self.path / "adapter")
    merged = property(lambda self: self.path / "merged")
    merge_receipt = property(lambda self: self.path / "merge_receipt.json")
    evaluation = property(lambda self: self.path / "evaluation.json")
    comparisons = property(lambda self: self.path / "comparisons.jsonl")
    votes = property(lambda self: self.path / "votes.jsonl")
    report_html = property(lambda self: self.path / "report.html")
    notebooks = property(lambda self: self.path / "notebooks")
    lock_file = property(lambda self: self.path / "run.lock")

    @classmethod
    def open(cls, config: RunConfig) -> RunDir:
        """The run directory of `config.run_name`; made when it is not there yet."""
        run = cls(runs_root() / config.run_name)
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    def start_config(self, fresh: RunConfig, **overrides) -> RunConfig:
        """The settings with which 03 starts: config.json where 00 (or an earlier 03) wrote one, else `fresh`.

        `fresh` is `RunConfig.load(PRESET, **overrides)`. The rule for all notebooks: 00 begins a run from the preset and
        writes config.json; the others start from config.json. Explicit overrides (QLORA_<FIELD>, keywords) win over both.
        Every value that is not the one of `fresh` is printed; to begin anew, run 00 again or delete config.json.
        """
        if not self.config_json.exists():
            return fresh
        config = self.load_config(**overrides)
        for name, (kept, value) in config.differences(fresh).items():
            if name not in RECORDED:
                print(f"From config.json: {name} is {kept!r} (the preset has {value!r}).")
        return config

    def save_config(self, config: RunConfig) -> None:
        """Write config.json. Recorded revisions stay when `config` has the same model or data set and names none.

        Raises ValueError when a training with other settings already lies here, or is under way.
        """
        if self.config_json.exists():
            stored = self._stored_config()
            if self.adapter.exists() or any(self.trainer.glob("checkpoint-*")) or self.lock_owner():
                self._refuse_other_training(stored, config)
            same = [n for n, source in RECORDED.items() if getattr(stored, source) == getattr(config, source)]
            config = replace(config, **{name: getattr(stored, name) for name in same if not getattr(config, name)})
        write_atomic(self.config_json, config.to_json())

    def _refuse_other_training(self, stored: RunConfig, config: RunConfig) -> None:
        changed = {k: v for k, v in stored.differences(config).items() if k in SHAPES_THE_TRAINING}
        if changed:
            told = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in changed.items())
            raise ValueError(
                f"{self.path.name} already holds a training with other settings ({told}): "
                f"set QLORA_RUN_NAME (or OVERRIDES['run_name']) to start a new run, or delete {self.path}."
            )

    def _stored_config(self) -> RunConfig:
        return RunConfig.from_json(self.config_json.read_text(encoding="utf-8"))

    def load_config(self, **overrides) -> RunConfig:
        """config.json as 00 or 03 wrote it, with explicit overrides on top; each one that differs is printed.

        An override of model_id or dataset_id drops the revision that was recorded for the old one.
        Raises FileNotFoundError when 03 has not run, ValueError for a bad override.
        """
        self.require(self.config_json, produced_by="03_data_preview.ipynb")
        stored = self._stored_config()
        config = stored.with_overrides(**overrides)
        for name, source in RECORDED.items():
            if getattr(config, source) != getattr(stored, source) and getattr(config, name) == getattr(stored, name):
                config = replace(config, **{name: ""})
        for name, (saved, used) in stored.differences(config).items():
            print(f"Override: {name} is {saved!r} in config.json, {used!r} is used here.")
        return config

    def require(self, *paths: Path, produced_by: str) -> None:
        """Raises FileNotFoundError that names the missing file, the notebook that makes it, and the variables."""
        for path in paths:
            if not path.exists():
                raise FileNotFoundError(
                    f"{path.relative_to(self.path)} is missing in {self.path}: run {produced_by} first, "
                    "or choose another run with QLORA_RUN_NAME, QLORA_PRESET or QLORA_RUNS_DIR."
                )

    @contextlib.contextmanager
    def lock(self, task: str):
        """Hold the run for `task` while the block runs, so that two processes never write it at once.

        Under `accelerate launch`, the first process holds it for all of them.
        Raises RuntimeError when another live process holds it; the lock of a dead one is taken over.
        """
        import psutil

        if os.environ.get("RANK", "0") != "0":
            yield
            return

        me = {"pid": os.getpid(), "started": psutil.Process().create_time(), "task": task, "since": time.time()}
        while True:
            try:
                handle = os.open(self.lock_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                break
            except FileExistsError:
                owner = self.lock_owner()
                if owner:
                    raise RuntimeError(
                        f"{self.path.name} is in use: {owner['task']}, process {owner['pid']}. "
                        "Wait for it, stop it, or choose another run with QLORA_RUN_NAME."
                    ) from None
                self.lock_file.unlink(missing_ok=True)
        with os.fdopen(handle, "w") as file:
            json.dump(me, file)
        try:
            yield
        finally:
            self.lock_file.unlink(missing_ok=True)

    def lock_owner(self) -> dict | None:
        """Who holds the run now (pid, task, since in Unix seconds); None when nobody alive does."""
        import psutil

        try:
            owner = json.loads(self.lock_file.read_text())
            alive = abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 2
        except (FileNotFoundError, json.JSONDecodeError, KeyError, psutil.NoSuchProcess):
            return None
        return owner if alive else None
