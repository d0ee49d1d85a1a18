"""What a run was made with does not change under it: with other settings, data or base it is another run, a fork."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from helpers.fields import Stage
from helpers.files import folder_digest
from helpers.paths import local_path
from helpers.settings import RECORDED, RULES, RunConfig, cut, names_of, signed
from helpers.show.words import _


class OtherTraining(ValueError):
    """The run holds a training with other settings, data or base; `changed` names them: name -> (old, new)."""

    def __init__(self, sentence: str, changed: dict):
        super().__init__(sentence)
        self.changed = changed


def refuse_unknown_training(run) -> None:
    """Raises OtherTraining where a training lies in a `RunDir`; for one without config.json, which says what it is."""
    files = [path for path in (run.adapter, run.trained, *run.trainer.glob("checkpoint-*")) if path.exists()]
    if files:
        sentence = _(
            "{folder} holds a training ({files}) without the config.json that says which: delete {folder}, or set "
            "QLORA_RUN_NAME to start a run of another name."
        )
        names = ", ".join(str(path.relative_to(run.path)) for path in files)
        raise OtherTraining(sentence.format(folder=run.path, files=names), {})


def refuse_other_training(run: Path, stored: RunConfig, config: RunConfig) -> None:
    """Raises OtherTraining where `config` would not have made what lies in the folder `run`, made with `stored`."""
    _refuse_other_source(run, stored, config)
    differences = stored.differences(config)
    shaping = names_of(Stage.DATA, Stage.LABELS, Stage.TRAINING)
    fixed = {name for name in shaping if name not in RECORDED and not RULES[name].get("resumable")}
    if changed := {name: values for name, values in differences.items() if name in fixed}:
        summary = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in changed.items())
        settings = {k: new for k, (_old, new) in differences.items() if k not in ("preset", "run_name")}
        sentence = _(
            "{run} already holds a training with other settings ({changes}). To try them in a run beside it:\n"
            "{command}\n"
            "Then open the notebooks anew, without these OVERRIDES: they work on that run. Or set QLORA_RUN_NAME "
            "to start a run of another name, or delete {folder}."
        )
        values = {"run": run.name, "changes": summary, "command": fork_command(run.name, settings), "folder": run}
        raise OtherTraining(sentence.format(**values), changed)


def _refuse_other_source(run: Path, stored: RunConfig, config: RunConfig) -> None:
    """A file that was edited, a hub branch that moved: known by what was recorded at the first load."""
    for name, source in RECORDED.items():
        old, new, what = getattr(stored, name), getattr(config, name), getattr(config, source)
        # main says nothing
        known = all(re.fullmatch(r"sha256:\w+|[0-9a-f]{40}", revision) for revision in (old, new))
        if known and old != new and getattr(stored, source) == what:
            sentence = _(
                "{run} already holds a training, and {source} has changed since ({name} was {old}, is {new}): set "
                "QLORA_RUN_NAME to start a run of another name on it, or delete {folder}."
            )
            values = {"run": run.name, "source": what, "name": name, "old": old, "new": new}
            raise OtherTraining(sentence.format(**values, folder=run), {name: (old, new)})


def base_changed(config_json: Path, config: RunConfig) -> str:
    """A sentence where the folder of the base holds other files than those that were recorded; else empty.

    It is read again only where a file in it was written, or came, after `config_json`.
    """
    folder, recorded = local_path(config.model_id), config.model_revision
    if not (folder and folder.is_dir() and recorded.startswith("sha256:")):
        return ""
    written = max((path.stat().st_ctime for path in folder.rglob("*")), default=0.0)
    if written <= config_json.stat().st_mtime or folder_digest(folder) == recorded:
        return ""
    sentence = _(
        "The base model in {folder} has changed since 03: an adapter of this run belongs to the files as they were. "
        "Bring them back, or train anew under another run_name."
    )
    return sentence.format(folder=folder)


def fork_name(old: str, changes: dict) -> str:
    """A name for the fork of `old` with `changes`, that a folder can have; one that is cut has a sign of its own."""
    whole = "-".join([old, *(f"{name}-{value}" for name, value in changes.items())])
    name = re.sub(r"[^\w.-]+", "-", whole)
    if len(name.encode()) <= 100:
        return name
    return signed(cut(name, 91), whole)


def fork_command(old: str, changes: dict) -> str:
    """The shell line that makes a fork of `old`, with a name made of `changes`; it runs in any terminal here."""
    settings = [f"{name}={value}" for name, value in changes.items()]
    return module_command("helpers.runs", "fork", old, fork_name(old, changes), *settings)


def module_command(module: str, *words: str) -> str:
    """The shell line that runs a module of this project with the python that has its packages."""
    return shlex.join([sys.executable, "-m", module, *words])
