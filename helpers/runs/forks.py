"""A run like another one but for some settings: what a change leaves valid is taken over, the rest is to be made again.

That follows from the `stage` of the changed settings: each step has its files, and reads those of the steps before it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from helpers.fields import BadSetting, Stage
from helpers.files import write_atomic
from helpers.paths import runs_root, write_chosen
from helpers.runs.directory import RunDir
from helpers.runs.identity import module_command, refuse_unknown_training
from helpers.settings import RECORDED, RunConfig, check_settings, names_of, passes_win
from helpers.show.words import N_, _

# In the order in which they are made: the settings that shape a step, its notebook, its files, those that are complete
# only where the last one is there. PUSH makes no file.
STEPS = (
    ((Stage.DATA, Stage.LABELS), "03", ("train_jsonl", "eval_jsonl", "data_report")),
    ((Stage.TRAINING,), "04", ("adapter", "preference", "metrics", "held_out", "samples", "trainer", "trained")),
    ((Stage.MERGE,), "05", ("merged", "measured", "merge_report")),
    ((Stage.EVALUATION,), "06", ("comparisons", "votes", "report_html", "evaluation")),
    ((Stage.SERVE,), "07", ("gguf", "served")),
)
OPTIONAL = "preference metrics held_out samples trainer measured comparisons votes report_html served".split()
LARGE = 1 << 20  # bytes: weights of this size are linked, and never written in place; everything else is the fork's own


def choose(name: str) -> None:
    """Let every notebook opened from now on work on the run `name`; "" goes back to the preset's own run.

    QLORA_RUN_NAME, OVERRIDES and an explicit other QLORA_PRESET still win. Raises ValueError for a name that no folder
    can have.
    """
    name = RunConfig(run_name=name).run_name if name.strip() else ""
    write_chosen(name)
    sentence = _("Notebooks opened from now on work on {run}, which is new.")
    if (runs_root() / name / "config.json").exists():
        sentence = _("Notebooks opened from now on work on {run}.")
    if not name:
        sentence = _("Notebooks opened from now on work on the run of their preset.")
    print(sentence.format(run=name))


def fork(old: str, new: str, chosen: bool = True, **changes) -> RunDir:
    """A new run with the settings of `old` but for `changes`; it takes over what stays valid, and is chosen.

    Weights are hard links where the disk can, so they take no room; rows, settings and reports are the fork's own. Of a
    chosen one, what must be made again is printed; else that is the caller's work. A fork that would change nothing is
    not made: `old` comes back. Raises FileNotFoundError when `old` has no config.json, BadSetting for a setting that is
    none, or when `new` is there already, OtherTraining when a training without config.json is. `seeds=[1, 2, 3]`:
    several that differ in their luck alone, see `_with_seeds`.
    """
    if "seeds" in changes:
        return _with_seeds(old, new.strip(), chosen, changes)
    source = RunDir(runs_root() / old)
    before = source.stored_config()
    after = _settings_of_fork(before, new, changes)
    new, run = after.run_name, RunDir(runs_root() / after.run_name)  # without blanks round it
    changed = before.differences(after).keys() - {"run_name"}
    if changes.get("start_from") == "adapter":  # of this run, also where it began from an adapter itself
        changed |= {"start_from"}
        source.require(source.train_jsonl, source.eval_jsonl, produced_by="03_data_preview.ipynb")
        source.require(source.adapter / "adapter_model.safetensors", produced_by="04_qlora_training.ipynb")
    if changes and not changed and not run.config_json.exists():
        print(_("{run} already has these settings: no fork was made.").format(run=old))
        return source
    if run.config_json.exists():
        sentence = _("A run {run!r} is already there: take another name, choose({run!r}), or delete {folder}.")
        raise BadSetting(sentence.format(run=new, folder=run.path), "run_name", new)
    refuse_unknown_training(run)
    kept, again = _kept(source, changed)
    kept.append(source.left_out)
    _build(run, after, [(path, path.relative_to(source.path)) for path in kept] + _start(source, after, changed), old)
    settings = ", ".join(f"{name}={getattr(after, name)!r}" for name in sorted(changed))
    sentence = _("{new} is {old} with {settings}.") if changed else _("{new} is {old} with nothing changed.")
    step = [_next_step(source, again, changed)] if chosen else []
    print(sentence.format(new=new, old=old, settings=settings), *step)
    if chosen and "QLORA_RUN_NAME" not in os.environ:  # there, the run is chosen already
        choose(new)
    return run


def _with_seeds(old: str, new: str, chosen: bool, changes: dict) -> RunDir:
    """A fork NEW-seed-S for each of `seeds` (a list, or its text); those that are there stay. The first comes back."""
    seeds, before = changes.pop("seeds"), RunDir(runs_root() / old).stored_config()
    seeds = re.findall(r"[^\s,\[\]]+", seeds) if isinstance(seeds, str) else seeds
    if not isinstance(seeds, (list, tuple)) or not seeds:
        raise BadSetting(_("seeds={seeds!r} is no list of seeds.").format(seeds=seeds), "seeds", seeds)
    settings = {f"{new}-seed-{seed}": changes | {"training_seed": seed} for seed in seeds}
    all(_settings_of_fork(before, *named) for named in settings.items())  # before the first one is made
    for name, values in settings.items():
        if not (runs_root() / name / "config.json").exists():
            fork(old, name, chosen=False, **values)
    command = f"QLORA_RUN_NAME=$run {module_command('helpers.train.launch', before.preset)}"
    command = f"for run in {' '.join(settings)}; do {command}; done"
    print(_("To train all of them: {command}").format(command=command))
    if chosen and "QLORA_RUN_NAME" not in os.environ:
        choose(next(iter(settings)))
    return RunDir(runs_root() / next(iter(settings)))


def _settings_of_fork(before: RunConfig, new: str, changes: dict) -> RunConfig:
    check_settings(changes)
    if fixed := changes.keys() & {"run_name", "preset"}:
        sentence = _("{name} cannot be changed in a fork: its name is the second argument, {new!r} here.")
        name = fixed.pop()
        raise BadSetting(sentence.format(name=name, new=new), name, changes[name])
    after = replace(before, **passes_win(changes), run_name=new)
    stale = [name for name, source in RECORDED.items() if getattr(before, source) != getattr(after, source)]
    return replace(after, **{name: "" for name in stale if name not in changes})


def _kept(source: RunDir, changed: set[str]) -> tuple[list[Path], list[str]]:
    """The files of `source` that stay valid, and the notebooks that have to run again, the first one first."""
    files, again = [], []
    for stages, notebook, names in STEPS:
        complete = all(getattr(source, name).exists() for name in names if name not in OPTIONAL)
        stale = changed & set(names_of(*stages)) or not complete
        training = notebook == "04" and (not changed or source.lock_owner())  # as it is: to be tried with other luck
        if stale or training or {"03", "04", "05"} & {*again}:
            again.append(notebook)
        else:
            files += [getattr(source, name) for name in names]
    return files, again


def _start(source: RunDir, after: RunConfig, changed: set[str]) -> list[tuple[Path, Path]]:
    """What the fork's training begins from, and its place there: adapter and rows of `source`, or of its own start."""
    if after.start_from != "adapter":
        return []
    if "start_from" not in changed:
        return [(source.start, Path("start"))]
    return [(path, Path("start", path.name)) for path in (source.adapter, source.train_jsonl, source.eval_jsonl)]


def _next_step(source: RunDir, again: list[str], changed: set[str]) -> str:
    """Which notebook comes first now, and why."""
    if again[:1] == ["03"]:
        sentence = _("Run 03 first, then 04: {run} has no complete data either.")
        if by := sorted(changed & set(names_of(Stage.DATA, Stage.LABELS))):
            sentence = _("Run 03 first, then 04: {names} may change the data or its labels.")
        return sentence.format(names=", ".join(by), run=source.path.name)
    if changed & set(names_of(Stage.PUSH)) and again[:1] not in (["04"], ["05"]):
        return _("It has the same data, adapter and merged model. To push it, run the last section of 05.")
    return _(FIRST[again[0]] if again else NOTHING)


NOTHING = N_("It has everything of the old run: nothing has to run again.")
FIRST = {
    "04": N_("It has the same data and verdicts. Run 04 first."),
    "05": N_("It has the same data and adapter. Run 05 first."),
    "06": N_("It has the same data, adapter and merged model. Run 06 first."),
    "07": N_("It has the same data, adapter, merged model and evaluation. Run 07 first."),
}


def _build(run: RunDir, config: RunConfig, kept: list[tuple[Path, Path]], old: str) -> None:
    """Make the fork beside its final name and rename it: one that is killed half-way leaves no run behind.

    `kept`: paths of the run `old`, each with its place in the fork.
    """
    run.path.parent.mkdir(parents=True, exist_ok=True)
    draft = run.path.with_name(f".{run.path.name}-draft")
    shutil.rmtree(draft, ignore_errors=True)
    for path, place in kept:
        if path.exists():
            share(path, draft / place)
    write_atomic(draft / run.parent.name, old)
    write_atomic(draft / "config.json", config.to_json())
    if run.path.exists():  # opened before it was forked: it holds no settings, but perhaps somebody's labs
        shutil.copytree(draft, run.path, copy_function=os.replace, dirs_exist_ok=True)
        shutil.rmtree(draft)
    else:
        draft.rename(run.path)


def share(path: Path, copy: Path) -> None:
    """A file or folder as the fork's own copy; large weights as hard links where the disk can."""
    if path.is_dir():
        shutil.copytree(path, copy, copy_function=lambda a, b: share(Path(a), Path(b)), dirs_exist_ok=True)
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    if path.stat().st_size >= LARGE and path.suffix in (".safetensors", ".gguf", ".pt", ".bin"):
        with contextlib.suppress(OSError):  # another disk, or one without links
            os.link(path, copy)
            return
    shutil.copy2(path, copy)
