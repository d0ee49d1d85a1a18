"""`RunDir`: the one owner of paths. Every notebook reads and writes one run directory, and nothing else.

runs/<run_name>/
  config.json  data/train.jsonl  data/eval.jsonl  data_report.json  trainer/  metrics.jsonl  held_out.json
  adapter/  merged/  merge_report.json  evaluation.json  comparisons.jsonl  votes.jsonl  report.html  gguf/  notebooks/  labs/

python -m helpers.runs choose NAME                       the run that notebooks opened from now on work on
python -m helpers.runs fork OLD NEW lora_r=2 ...         a new run like OLD but for these settings, and choose it
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import SoftFileLock, Timeout

from helpers.files import read_json, write_atomic, write_json
from helpers.paths import runs_of_other_pods, runs_root, write_chosen
from helpers.settings import RunConfig, check_names, passes_win

# What a training run is made of: changing one of these under a trained adapter would mix two runs in one folder.
SHAPES_THE_TRAINING = (
    "seed model_id dataset_id dataset_config dataset_split dataset_format max_rows eval_fraction max_eval_rows max_length packing "
    "answer_only_loss learn_thinking chat_template rehearsal_fraction rehearsal_dataset_id load_in_4bit quant_type double_quant compute_dtype lora_r lora_alpha lora_dropout "
    "lora_target_modules use_rslora num_train_epochs max_steps per_device_train_batch_size "
    "gradient_accumulation_steps learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm optim "
    "sort_by_length keep patience"
).split()

# What the two data files, the labels and so the verdicts of data_report.json are made of
SHAPES_THE_DATA = (
    "seed model_id model_revision dataset_id dataset_config dataset_split dataset_revision dataset_format max_rows "
    "eval_fraction max_eval_rows rehearsal_fraction rehearsal_dataset_id chat_template max_length answer_only_loss "
    "learn_thinking"
).split()
# Of no consequence before 05, and of none before 06
AFTER_TRAINING = "merge_method merge_shard_gb max_new_tokens".split()
AFTER_MERGING = (
    "temperature top_p push hub_repo hub_private hub_force hub_examples gguf_formats serve_rows gpu volume_gb "
    "price_per_hour prices"
).split()

OLD_MERGE_REPORT = "merge_receipt.json"  # until 2026-11-25
UNKNOWN_OWNER = {"pid": None, "host": "a machine that left no note", "task": "another task", "since": None}

# What was really loaded, recorded beside its source. It belongs to that source alone.
RECORDED = {"model_revision": "model_id", "dataset_revision": "dataset_id"}


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
    held_out = property(
        lambda self: self.path / "held_out.json"
    )  # the adapter, row by row, and what the curve says; 04
    adapter = property(lambda self: self.path / "adapter")
    merged = property(lambda self: self.path / "merged")
    measured = property(lambda self: self.path / "measured.json")  # of three models, row by row, and replies; 05
    evaluation = property(lambda self: self.path / "evaluation.json")
    comparisons = property(lambda self: self.path / "comparisons.jsonl")
    votes = property(lambda self: self.path / "votes.jsonl")
    report_html = property(lambda self: self.path / "report.html")
    gguf = property(lambda self: self.path / "gguf")
    labs = property(lambda self: self.path / "labs")  # what a participant solved
    notebooks = property(lambda self: self.path / "notebooks")
    trained = property(lambda self: self.path / "trained.json")  # 04 writes it when the adapter is saved
    preference = property(lambda self: self.path / "preference.json")  # A2 made this run's adapter, from these pairs
    stop_request = property(lambda self: self.path / "trainer" / "stop.request")  # holds the process that is to stop
    stopped = property(lambda self: self.path / "trainer" / "stopped")  # it did, with a checkpoint
    lock_file = property(lambda self: self.path / "run.lock")
    lock_note = property(lambda self: self.path / "run.lock.json")  # who holds it, for people to read

    @property
    def merge_report(self) -> Path:
        """merge_report.json; in a run made before it had this name, the file under its old one."""
        new, old = self.path / "merge_report.json", self.path / OLD_MERGE_REPORT
        return old if old.exists() and not new.exists() else new

    @classmethod
    def open(cls, config: RunConfig) -> RunDir:
        """The run directory of `config.run_name`; made when it is not there yet."""
        run = cls(runs_root() / config.run_name)
        elsewhere = [folder for folder in runs_of_other_pods() if (folder / config.run_name).is_dir()]
        if elsewhere and not run.path.exists():
            print(
                f"A run {config.run_name} of another pod lies in {', '.join(map(str, elsewhere))}. This one is new, in "
                f"{run.path.parent}. To go on with the old one: QLORA_RUNS_DIR={elsewhere[0]}, before the kernel starts."
            )
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    def start_config(self, fresh: RunConfig, **overrides) -> RunConfig:
        """The settings with which 03 starts: config.json where 00 (or an earlier 03) wrote one, else `fresh`.

        `fresh` is `RunConfig.load(PRESET, **overrides)`. The rule for all notebooks: 00 begins a run from the preset and
        writes config.json; the others start from config.json. Explicit overrides (QLORA_<FIELD>, keywords) win over both.
        Every value that is not the one of `fresh` is printed; to begin anew, run 00 again or delete config.json.
        """
        if not self.config_json.exists():
            print(fresh.told())
            return fresh
        config = self.load_config(**overrides)
        for name, (kept, value) in config.differences(fresh).items():
            if name not in RECORDED:
                print(f"From config.json: {name} is {kept!r} (the preset has {value!r}).")
        return config

    def save_config(self, config: RunConfig) -> None:
        """Write config.json. Recorded revisions stay when `config` has the same model or data set and names none.

        Raises ValueError when a training with other settings already lies here, or is under way, or one on preferences.
        """
        if self.preference.exists():
            raise ValueError(
                f"The adapter of {self.path.name} was trained on preferences by A2, and 03 or 04 would replace it: go on with "
                "05, or choose another run with QLORA_RUN_NAME."
            )
        if self.config_json.exists():
            stored = self.stored_config()
            if self.adapter.exists() or any(self.trainer.glob("checkpoint-*")) or self.lock_owner():
                self._refuse_other_training(stored, config)
            same = [n for n, source in RECORDED.items() if getattr(stored, source) == getattr(config, source)]
            config = replace(config, **{name: getattr(stored, name) for name in same if not getattr(config, name)})
        write_atomic(self.config_json, config.to_json())

    def _refuse_other_training(self, stored: RunConfig, config: RunConfig) -> None:
        for name, source in RECORDED.items():
            old, new, what = getattr(stored, name), getattr(config, name), getattr(config, source)
            known = all(
                re.fullmatch(r"sha256:\w+|[0-9a-f]{40}", revision) for revision in (old, new)
            )  # main says nothing
            if known and old != new and getattr(stored, source) == what:
                raise ValueError(
                    f"{self.path.name} already holds a training, and {what} has changed since ({name} was {old}, is {new}): "
                    f"set QLORA_RUN_NAME to start a run of another name on it, or delete {self.path}."
                )
        changed = {k: v for k, v in stored.differences(config).items() if k in SHAPES_THE_TRAINING}
        if changed:
            told = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in changed.items())
            fields = {k: new for k, (_, new) in stored.differences(config).items() if k not in ("preset", "run_name")}
            raise ValueError(
                f"{self.path.name} already holds a training with other settings ({told}). To try them in a run beside it:\n"
                f"{fork_command(self.path.name, fields)}\n"
                "Then open the notebooks anew, without these OVERRIDES: they work on that run. Or set QLORA_RUN_NAME to "
                f"start a run of another name, or delete {self.path}."
            )

    def stored_config(self) -> RunConfig:
        """config.json as it stands. Raises FileNotFoundError when 03 has not run, ValueError for a bad value in it."""
        self.require(self.config_json, produced_by="03_data_preview.ipynb")
        return RunConfig.from_json(self.config_json.read_text(encoding="utf-8"))

    def load_config(self, **overrides) -> RunConfig:
        """config.json as 00 or 03 wrote it, with explicit overrides on top; each one that differs is printed, below the run.

        An override of model_id or dataset_id drops the revision that was recorded for the old one.
        Raises FileNotFoundError when 03 has not run, ValueError for a bad override.
        """
        stored = self.stored_config()
        config = stored.with_overrides(**overrides)
        for name, source in RECORDED.items():
            if getattr(config, source) != getattr(stored, source) and getattr(config, name) == getattr(stored, name):
                config = replace(config, **{name: ""})
        print(config.told())
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
        Raises RuntimeError when another live process holds it, here or on another machine that shares the folder; the
        lock of a process that died on this machine is taken over.
        """
        if os.environ.get("RANK", "0") != "0":
            yield
            return

        lock = SoftFileLock(self.lock_file)
        try:
            held = lock.acquire(blocking=False)
        except Timeout:
            owner = self.lock_owner() or UNKNOWN_OWNER
            raise RuntimeError(
                f"{self.path.name} is in use: {owner['task']}, process {owner['pid']} on {owner['host']}. Wait for it, stop "
                f"it, or choose another run with QLORA_RUN_NAME. (Is that machine gone for good? Delete {self.lock_file}.)"
            ) from None
        with held:
            me = {"pid": os.getpid(), "host": socket.gethostname(), "task": task, "since": time.time()}
            write_json(self.lock_note, me)
            try:
                yield
            finally:
                self.lock_note.unlink(missing_ok=True)

    def lock_owner(self) -> dict | None:
        """Who holds the run now (pid, host, task, since in Unix seconds); None when nobody alive does."""
        lock = SoftFileLock(self.lock_file)
        if not self.lock_file.exists():
            return None
        try:
            lock.acquire(blocking=False).lock.release()  # the lock of a dead process: taken over, and let go
            return None
        except Timeout:
            note = read_json(self.lock_note) if self.lock_note.exists() else {}
            return note if note and note["pid"] == lock.pid else {**UNKNOWN_OWNER, "pid": lock.pid}


def choose(name: str) -> None:
    """Let every notebook opened from now on work on the run `name`; "" goes back to the preset's own run.

    QLORA_RUN_NAME, OVERRIDES and an explicit other QLORA_PRESET still win. Raises ValueError for a name that no folder can have.
    """
    if name:
        RunConfig(run_name=name)
    write_chosen(name)
    known = not name or (runs_root() / name / "config.json").exists()
    print(
        f"Notebooks opened from now on work on {name or 'the run of their preset'}{'' if known else ', which is new'}."
    )


def fork(old: str, new: str, chosen: bool = True, **changes) -> RunDir:
    """A new run with the settings of `old` but for `changes`; it shares the files that stay the same, and is chosen.

    Data, adapter and merged model are hard links where the changes leave them as they are, so they take no room. What must
    be done again is printed. Raises FileNotFoundError when `old` has no config.json, ValueError for a setting that is none,
    or when `new` is there already.
    """
    source, run = RunDir(runs_root() / old), RunDir(runs_root() / new)
    before = source.stored_config()
    if run.config_json.exists():
        raise ValueError(f"A run {new!r} is already there: take another name, choose({new!r}), or delete {run.path}.")
    check_names(changes)
    if fixed := changes.keys() & {"run_name", "preset"}:
        raise ValueError(f"{fixed.pop()} cannot be changed in a fork: its name is the second argument, {new!r} here.")
    after = replace(before, **passes_win(changes), run_name=new)
    stale = [name for name, where in RECORDED.items() if getattr(before, where) != getattr(after, where)]
    after = replace(after, **{name: "" for name in stale if name not in changes})
    changed = before.differences(after).keys() - {"run_name"}
    begin, shared = _first_to_run_again(source, changed)
    run.path.mkdir(parents=True, exist_ok=True)
    for path in filter(Path.exists, shared):
        share(path, run.path / path.relative_to(source.path))
    write_atomic(run.config_json, after.to_json())
    told = ", ".join(f"{name}={getattr(after, name)!r}" for name in sorted(changed)) or "nothing changed"
    print(f"{new} is {old} with {told}. {begin}")
    if chosen and "QLORA_RUN_NAME" not in os.environ:  # there, the run is chosen already
        choose(new)
    return run


def _first_to_run_again(source: RunDir, changed: set[str]) -> tuple[str, list[Path]]:
    """Where a fork of `source` begins, in a sentence, and the files that it shares."""
    if by := sorted(changed & set(SHAPES_THE_DATA)):
        return f"Run 03 first, then 04: {', '.join(by)} may change the data or its labels.", []
    data = [source.train_jsonl, source.eval_jsonl, source.data_report]
    if not all(path.exists() for path in data):
        return f"Run 03 first, then 04: {source.path.name} has no complete data either.", []
    done = source.trained.exists() and source.adapter.exists() and not source.lock_owner()
    if changed - {*AFTER_TRAINING, *AFTER_MERGING} or not changed or not done:
        return "It has the same data and verdicts. Run 04 first.", data
    training = [source.adapter, source.preference, source.trained, source.metrics, source.held_out, source.trainer]
    if changed & set(AFTER_TRAINING) or not source.merged.exists() or not source.merge_report.exists():
        return "It has the same data and adapter. Run 05 first.", data + training
    return "It has the same data, adapter and merged model. Run 06 first.", [
        *data,
        *training,
        source.merged,
        source.merge_report,
    ]


def share(path: Path, copy: Path) -> None:
    """A file or folder as hard links; a copy where the disk cannot, and of files that 04 appends to."""
    if path.is_dir():
        shutil.copytree(path, copy, copy_function=lambda a, b: share(Path(a), Path(b)), dirs_exist_ok=True)
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.unlink(missing_ok=True)
    appended = path.suffix == ".jsonl" and path.parent.name != "data"
    try:
        (shutil.copy2 if appended else os.link)(path, copy)
    except OSError:
        shutil.copy2(path, copy)


def fork_name(old: str, changes: dict) -> str:
    """A name for the fork of `old` with `changes`, that a folder can have."""
    return re.sub(r"[^\w.-]+", "-", "-".join([old, *(f"{name}-{value}" for name, value in changes.items())]))[:100]


def fork_command(old: str, changes: dict) -> str:
    """The shell line that makes a fork of `old`, with a name made of `changes`."""
    given = [f"{name}={value}" for name, value in changes.items()]
    return shlex.join(["python", "-m", "helpers.runs", "fork", old, fork_name(old, changes), *given])


def main(arguments: list[str]) -> int:
    """The command line; 0 when it did what was asked."""
    try:
        match arguments:
            case ["choose", name]:
                choose(name)
            case ["fork", old, new, *settings] if all("=" in setting for setting in settings):
                fork(old, new, **dict(setting.split("=", 1) for setting in settings))
            case _:
                print(__doc__[__doc__.index("python -m") :], file=sys.stderr)
                return 2
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
