"""What a sweep is to try: every combination of some values, checked before the first fork is made."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import replace

from helpers.fields import BadSetting, Stage
from helpers.paths import runs_root
from helpers.runs import RunDir, fork
from helpers.runs.directory import fork_command, fork_name
from helpers.settings import RULES, RunConfig, check_settings, moves_the_ruler, names_of
from helpers.show.words import _

PARTS = 4  # a run is measured so often: the rounds of a sweep are quarters


def combinations(**choices: list) -> list[dict]:
    """Every combination of the values, as the changes of a fork; `seeds` are values of training_seed.

    Raises BadSetting for a choice that is no list of values, for settings that change the data (such runs could not be
    compared), for those that change how long a training is or where it is measured, and for those that change no
    training.
    """
    if "seeds" in choices:
        choices["training_seed"] = choices.pop("seeds")
    check_settings(choices)
    for name, values in choices.items():
        _require_fair(name, values)
    if not choices:
        sentence = _("A sweep needs at least one setting with its values, such as learning_rate=[1e-4, 1e-3].")
        raise BadSetting(sentence, "")
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def _require_fair(name: str, values) -> None:
    if not isinstance(values, (list, tuple)) or not values:
        sentence = _("{name}={values!r} is no list of values: write {name}=[...].")
        raise BadSetting(sentence.format(name=name, values=values), name, values)
    if name in names_of(Stage.DATA, Stage.LABELS):
        sentence = _(
            "{name} may change the held-out rows, so these runs could not be "
            "compared: fork by hand, and run 03 for each."
        )
        raise BadSetting(sentence.format(name=name), name, values)
    if name in moves_the_ruler():
        sentence = _(
            "{name} changes how long a training is or where it is measured, so "
            "this would be no fair race: fork by hand."
        )
        raise BadSetting(sentence.format(name=name), name, values)
    if RULES[name]["stage"] != Stage.TRAINING:
        raise BadSetting(_("{name} changes no training: there is nothing to compare.").format(name=name), name, values)


def planned(old: str, **choices: list) -> dict[str, dict]:
    """The forks of a sweep, name -> changes: each trains another model, and every value can be had.

    All are measured at the same quarters. Raises BadSetting before anything is made, FileNotFoundError before 03.
    """
    source = RunDir(runs_root() / old)
    source.require(source.train_jsonl, source.data_report, produced_by="03_data_preview.ipynb")
    config, forks, known = source.stored_config(), {}, set()
    for changes in combinations(**choices):
        changed = replace(config, **changes)  # raises BadSetting
        quarter = _quarter(changed, source)
        changes |= {"eval_steps": quarter, "save_steps": min(changed.save_steps, quarter)}
        typed = replace(config, **changes)
        if typed not in known:  # 16 and 16.0 are one run
            known.add(typed)
            forks[_name(old, {name: getattr(typed, name) for name in combinations_keys(choices)}, forks)] = changes
    lengths = {_steps(replace(config, **changes), source) for changes in forks.values()}
    if len(lengths) > 1:
        sentence = _(
            "These runs would have {steps} steps, so this would be no fair race: set max_steps for all of them."
        )
        raise BadSetting(sentence.format(steps=", ".join(map(str, sorted(lengths)))), "max_steps")
    return forks


def combinations_keys(choices: dict) -> list[str]:
    """The settings of a sweep in its order, `seeds` by its own name."""
    return ["training_seed" if name == "seeds" else name for name in choices]


def _name(old: str, changes: dict, taken: dict) -> str:
    """As fork_name; one that was cut, and would be another's, gets a sign of its own."""
    name = fork_name(old, changes)
    if name not in taken:
        return name
    return f"{name[:91]}-{hashlib.sha256(repr(changes).encode()).hexdigest()[:8]}"


def _steps(config: RunConfig, source: RunDir) -> int:
    """How many steps the training has; with packing, at most."""
    if config.max_steps > 0:
        return config.max_steps
    with source.train_jsonl.open(encoding="utf-8") as file:
        rows = sum(1 for line in file if line.strip())
    per_step = config.per_device_train_batch_size * config.gradient_accumulation_steps
    return max(1, math.ceil(config.num_train_epochs * math.ceil(rows / per_step)))


def _quarter(config: RunConfig, source: RunDir) -> int:
    """Steps between two evaluations, so that a quarter and a half of the training are two different ones."""
    return max(1, math.ceil(_steps(config, source) / PARTS))


def make_fork(old: str, name: str, changes: dict) -> RunDir:
    """The fork; made unless it is there. Raises BadSetting when the run of that name has other settings."""
    run = RunDir(runs_root() / name)
    if not run.config_json.exists():
        run = fork(old, name, chosen=False, **changes)
    config = run.stored_config()
    if changed := config.differences(replace(config, **changes)):
        sentence = _("The run {run} has other settings ({names}): delete {folder}.")
        raise BadSetting(sentence.format(run=name, names=", ".join(changed), folder=run.path), next(iter(changed)))
    return run


def pods(old: str, **choices: list) -> list[str]:
    """The same forks as SkyPilot jobs, one pod each, into one runs directory on the volume: the command lines.

    `old` must lie there after 03. Try one with `sky launch --dryrun` first. Raises BadSetting before anything is
    rented.
    """
    import shlex

    config, lines = RunDir(runs_root() / old).stored_config(), []
    for changes in combinations(**choices):
        replace(config, **changes)
        name = fork_name(old, changes)
        words = fork_command(old, changes).split("fork ", 1)[1]
        variables = {"QLORA_PRESET": config.preset, "QLORA_RUN_NAME": name, "FORK": words, "NOTEBOOKS": "04"}
        given = " ".join(f"--env {shlex.quote(f'{key}={value}')}" for key, value in variables.items())
        lines.append(f"sky launch -d -y -c {_cluster(name)} pod.yaml {given} --secret HF_TOKEN")
    return lines


def _cluster(name: str) -> str:
    """A name that a cluster can have; cut, it gets a sign of its own, or two jobs might share a pod."""
    cluster = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower()).strip("-")
    if len(cluster) <= 40:
        return cluster
    return f"{cluster[:31].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
