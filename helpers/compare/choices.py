"""What a sweep is to try: every combination of some values, checked before the first fork is made."""

from __future__ import annotations

import itertools
import math
import re
import shlex
from dataclasses import replace

from helpers.compare.seeds import LUCK
from helpers.fields import BadSetting, Stage
from helpers.model.possible import require_possible
from helpers.paths import runs_root
from helpers.runs import RunDir, fork
from helpers.runs.identity import fork_name
from helpers.settings import RULES, RunConfig, check_settings, names_of, signed
from helpers.show.words import _

PARTS = 4  # a run is measured so often: the rounds of a sweep are quarters


def combinations(**choices: list) -> list[dict]:
    """Every combination of the values, as the changes of a fork; `seeds` are values of training_seed.

    Raises BadSetting for a choice that is no list of values, and for a setting that changes the data (such runs could
    not be compared), how long a training is, where it is measured, or no training at all.
    """
    if "seeds" in choices:
        if LUCK in choices:
            raise BadSetting(_("seeds are the values of training_seed: give one of the two."), LUCK)
        choices[LUCK] = choices.pop("seeds")
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
    elif name in names_of(Stage.DATA, Stage.LABELS):
        sentence = _(
            "{name} may change the held-out rows, which could not be compared: fork by hand, and run 03 for each."
        )
    elif RULES[name].get("ruler"):
        sentence = _("{name} changes how long a training is or where it is measured, no fair race: fork by hand.")
    elif RULES[name]["stage"] != Stage.TRAINING:
        sentence = _("{name} changes no training: there is nothing to compare.")
    else:
        return
    raise BadSetting(sentence.format(name=name, values=values), name, values)


def planned(old: str, **choices: list) -> dict[str, dict]:
    """The forks of a sweep, name -> changes: each trains another model, and every value can be had.

    All are measured at the same quarters. Raises BadSetting, Refused or (before 03) FileNotFoundError; nothing is made.
    """
    source = RunDir(runs_root() / old)
    source.require(source.train_jsonl, source.data_report, produced_by="03_data_preview.ipynb")
    config, forks, runs, lengths = source.stored_config(), {}, set(), set()
    tried = [(changes, replace(config, **changes)) for changes in combinations(**choices)]  # raises BadSetting
    _require_possible(config, choices)
    for changes, changed in tried:
        steps = steps_of(changed, source)
        quarter = max(1, math.ceil(steps / PARTS))  # a quarter and a half of the training are two different ones
        pace = {"eval_steps": quarter, "save_steps": min(changed.save_steps, quarter)}
        run = replace(changed, **pace, training_seed=changed.luck)
        if run not in runs:  # 16 and 16.0 are one run
            values = {name: getattr(changed, name) for name in changes}
            name = fork_name(old, values)
            forks[signed(name[:91], repr(values)) if name in forks else name] = changes | pace  # it was cut
            runs.add(run)
            lengths.add(steps)
    if len(lengths) > 1:
        sentence = _("These runs would have {steps} steps, no fair race: set max_steps for all of them.")
        raise BadSetting(sentence.format(steps=", ".join(map(str, sorted(lengths)))), "max_steps")
    return forks


def _require_possible(config: RunConfig, choices: dict[str, list]) -> None:
    """Raises Refused for a name that this model or a library does not know, BadSetting where steps cannot be known."""
    if (config.packing or any(map(bool, choices.get("packing", ())))) and config.max_steps < 1:
        sentence = _("With packing nobody knows the steps before a training begins: set max_steps for all of them.")
        raise BadSetting(sentence, "max_steps")
    for name in choices.keys() & RULES.keys():
        if isinstance(getattr(config, name), (str, bool)):
            for value in choices[name]:
                require_possible(replace(config, **{name: value}))


def steps_of(config: RunConfig, source: RunDir) -> int:
    """How many steps the training has; with packing, at most."""
    if config.max_steps > 0:
        return config.max_steps
    with source.train_jsonl.open(encoding="utf-8") as file:
        rows = sum(1 for line in file if line.strip())
    per_step = config.per_device_train_batch_size * config.gradient_accumulation_steps
    return max(1, math.ceil(config.num_train_epochs * math.ceil(rows / per_step)))


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

    `old` must lie there, and here, after 03. Try one with `sky launch --dryrun` first. Raises what `planned` raises;
    nothing is rented.
    """
    config, lines = RunDir(runs_root() / old).stored_config(), []
    for name, changes in planned(old, **choices).items():
        words = shlex.join([old, name, *(f"{setting}={value}" for setting, value in changes.items())])
        variables = {"QLORA_PRESET": config.preset, "QLORA_RUN_NAME": name, "FORK": words, "NOTEBOOKS": "04"}
        given = " ".join(f"--env {shlex.quote(f'{key}={value}')}" for key, value in variables.items())
        lines.append(f"sky launch -d -y -c {_cluster(name)} pod.yaml {given} --secret HF_TOKEN")
    return lines


def _cluster(name: str) -> str:
    """A name that a cluster can have; cut, it gets a sign of its own, or two jobs might share a pod."""
    cluster = re.sub(r"[^a-z0-9]", "-", name.lower()).strip("-")
    return cluster if len(cluster) <= 40 else signed(cluster[:31].strip("-"), name)
