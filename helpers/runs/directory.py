"""`RunDir`: the one owner of paths, and of the settings that a run was made with."""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.files import read_json, sha256, write_atomic
from helpers.paths import runs_of_other_pods, runs_root
from helpers.runs.identity import OtherTraining, base_changed, refuse_other_training, refuse_unknown_training
from helpers.runs.lock import hold, note_of, owner_of
from helpers.runs.state import state
from helpers.settings import RECORDED, RETIRED, RunConfig
from helpers.show.words import _

OLD_MERGE_REPORT = "merge_receipt.json"  # until 2026-11-25


class ChangedRows(ValueError):
    """The rows are not those that 03 judged; `file` is theirs."""

    def __init__(self, sentence: str, file: Path):
        super().__init__(sentence)
        self.file = file


def _file(*parts: str):
    return property(lambda run: run.path.joinpath(*parts))


@dataclass(frozen=True)
class RunDir:
    """The folder of one run; its properties are the only places where file names are spelled."""

    path: Path

    config_json = _file("config.json")
    train_jsonl = _file("data", "train.jsonl")
    eval_jsonl = _file("data", "eval.jsonl")
    parent = _file("forked_from")  # the name of the run that this one is a fork of
    left_out = _file("data", "left_out.json")  # rows that somebody took out; 03 obeys
    data_report = _file("data_report.json")
    start = _file("start")  # adapter and rows of the run that a fork goes on from
    start_scores = _file("start", "scores.json")  # the adapter that a training began from, row by row; 04
    trainer = _file("trainer")
    metrics = _file("metrics.jsonl")
    held_out = _file("held_out.json")  # the adapter, row by row, and what the curve says; 04
    adapter = _file("adapter")
    trained = _file("trained.json")  # 04 writes it when the adapter is saved
    preference = _file("preference.json")  # A2 or A5 made this run's adapter, from these pairs or prompts
    merged = _file("merged")
    measured = _file("measured.json")  # of three models, row by row, and replies; 05
    evaluation = _file("evaluation.json")
    comparisons = _file("comparisons.jsonl")
    votes = _file("votes.jsonl")
    report_html = _file("report.html")
    samples = _file("samples.jsonl")  # 04: replies to one question while it learned
    served = _file("served.json")  # every file of 07, measured
    gguf = _file("gguf")
    labs = _file("labs")  # what a participant solved
    notebooks = _file("notebooks")
    stop_request = _file("trainer", "stop.request")  # holds the process that is to stop
    stopped = _file("trainer", "stopped")  # it did, with a checkpoint
    lock_file = _file("run.lock")
    lock_note = property(lambda run: note_of(run.lock_file))  # who holds it, for people

    @property
    def merge_report(self) -> Path:
        """merge_report.json; in a run made before it had this name, the file under its old one."""
        new, old = self.path / "merge_report.json", self.path / OLD_MERGE_REPORT
        return old if old.exists() and not new.exists() else new

    @classmethod
    def open(cls, config: RunConfig) -> RunDir:
        """The run directory of `config.run_name`; made when it is not there yet."""
        run = cls(runs_root() / config.run_name)
        elsewhere = [str(folder) for folder in runs_of_other_pods() if (folder / config.run_name).is_dir()]
        if elsewhere and not run.path.exists():
            sentence = _(
                "A run {run} of another pod lies in {folders}. This one is new, in {here}. "
                "To go on with the old one: QLORA_RUNS_DIR={first}, before the kernel starts."
            )
            values = {"folders": ", ".join(elsewhere), "first": shlex.quote(elsewhere[0])}
            print(sentence.format(run=config.run_name, here=run.path.parent, **values))
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    def start_config(self, fresh: RunConfig, **overrides) -> RunConfig:
        """The settings with which 03 starts: config.json where 00 (or an earlier 03) wrote one, else `fresh`.

        `fresh` is `RunConfig.load(PRESET, **overrides)`. The rule for all notebooks: 00 begins a run from the preset
        and writes config.json; the others start from config.json. Explicit overrides (QLORA_<FIELD>, keywords) win over
        both. Every value that is not the one of `fresh` is printed; to begin anew, run 00 again, or delete the folder.
        Raises OtherTraining where a training lies here without its config.json.
        """
        if not self.config_json.exists():
            refuse_unknown_training(self)
            print(fresh.summary())
            return fresh
        config = self.load_config(**overrides)
        sentence = _("From config.json: {name} is {kept!r} (the preset has {value!r}).")
        for name, (kept, value) in config.differences(fresh).items():
            if name not in RECORDED:
                print(sentence.format(name=name, kept=kept, value=value))
        return config

    def save_config(self, config: RunConfig) -> None:
        """Write config.json, and say what changes. Recorded revisions stay when `config` names none for their source.

        Raises OtherTraining when a training with other settings lies here or is under way, one of A2 or A5, or one
        without config.json.
        """
        if self.preference.exists():
            sentence = _(
                "The adapter of {run} was trained further by A2 or A5, and 03 or 04 would replace it: go on with 05, "
                "or choose another run with QLORA_RUN_NAME."
            )
            raise OtherTraining(sentence.format(run=self.path.name), {})
        if self.config_json.exists():
            stored = self.stored_config()
            if self.adapter.exists() or any(self.trainer.glob("checkpoint-*")) or self.lock_owner():
                refuse_other_training(self.path, stored, config)
            same = [n for n, source in RECORDED.items() if getattr(stored, source) == getattr(config, source)]
            config = replace(config, **{name: getattr(stored, name) for name in same if not getattr(config, name)})
            kept = _("Kept in config.json from now on: {name}={new!r} (it was {old!r}).")
            for name, (old, new) in stored.differences(config).items():  # every notebook after this one finds it
                if name not in RECORDED or (old and new):  # else recorded at the first load, or gone with its source
                    print(kept.format(name=name, new=new, old=old))
        else:
            refuse_unknown_training(self)
        write_atomic(self.config_json, config.to_json())

    def stored_config(self) -> RunConfig:
        """config.json as it stands. Raises FileNotFoundError when 03 has not run, ValueError for a bad value in it."""
        self.require(self.config_json, produced_by="03_data_preview.ipynb")
        return RunConfig.stored(self.config_json)

    def load_config(self, **overrides) -> RunConfig:
        """config.json as 00 or 03 wrote it, with explicit overrides on top; each one that differs is printed.

        An override of model_id or dataset_id drops the revision that was recorded for the old one.
        Raises FileNotFoundError when 03 has not run, ValueError for a bad override.
        """
        stored = self.stored_config()
        config = stored.with_overrides(**overrides)
        for name, source in RECORDED.items():
            if getattr(config, source) != getattr(stored, source) and getattr(config, name) == getattr(stored, name):
                config = replace(config, **{name: ""})
        print(config.summary())
        for told in filter(None, [state(self), base_changed(self.config_json, config)]):
            print(told)
        if retired := [name for name in read_json(self.config_json) if name in RETIRED]:
            print(_("Not read, since this version has no such settings: {names}.").format(names=", ".join(retired)))
        sentence = _("Override: {name} is {saved!r} in config.json, {used!r} is used here.")
        for name, (saved, used) in stored.differences(config).items():
            print(sentence.format(name=name, saved=saved, used=used))
        return config

    def require(self, *paths: Path, produced_by: str) -> None:
        """Raises FileNotFoundError that names the missing file, the notebook that makes it, and the variables."""
        for path in paths:
            if not path.exists():
                sentence = _(
                    "{file} is missing in {run}: run {notebook} first, or choose another run with QLORA_RUN_NAME, "
                    "QLORA_PRESET or QLORA_RUNS_DIR."
                )
                file = path.relative_to(self.path)
                raise FileNotFoundError(sentence.format(file=file, run=self.path, notebook=produced_by))
            if path in (self.train_jsonl, self.eval_jsonl):
                self._require_judged(path)

    def row_hashes(self) -> dict[str, str]:
        """SHA-256 of the files of rows, for data_report.json: whoever reads them later reads what was judged."""
        return {path.name: sha256(path) for path in (self.train_jsonl, self.eval_jsonl)}

    def _require_judged(self, path: Path) -> None:
        """Raises ChangedRows where the rows were edited since 03; a report of an older version has no hashes."""
        report = read_json(self.data_report) if self.data_report.exists() else {}
        judged = report.get("hashes", {}).get(path.name)
        if judged and judged != sha256(path):
            sentence = _(
                "{file} in {run} is not what 03 wrote and judged: it was edited since. Run 03_data_preview.ipynb "
                "again, or make a data file of your own and set dataset_id to it."
            )
            raise ChangedRows(sentence.format(file=path.relative_to(self.path), run=self.path), path)

    def lock(self, task: str):
        """Hold the run for `task` while the block runs, so that two processes never write it at once; see lock.hold.

        Under `accelerate launch`, the first process holds it for all of them.
        """
        return hold(self.lock_file, task) if os.environ.get("RANK", "0") == "0" else contextlib.nullcontext()

    def lock_owner(self) -> dict | None:
        """Who holds the run now (pid, host, task, since in Unix seconds); None when nobody alive does."""
        return owner_of(self.lock_file)
