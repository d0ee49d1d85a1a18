"""What a setting is: a value with a stage, a unit, the values that are allowed, and one line of help."""

from __future__ import annotations

import dataclasses
import difflib
from enum import StrEnum
from typing import Any

from helpers.show.words import _


class Stage(StrEnum):
    """The step of a run that a setting shapes. A change of it makes that step stale, and every step that reads it."""

    DATA = "data"  # 03: which rows are trained and held out
    LABELS = "labels"  # 03: what of them is learned, and the verdicts on it
    TRAINING = "training"  # 04: the adapter
    MERGE = "merge"  # 05: the merged model, and what was measured on it
    PUSH = "push"  # 05, its last section: what is uploaded, and where
    EVALUATION = "evaluation"  # 06
    SERVE = "serve"  # 07: files for llama.cpp
    PLAN = "plan"  # 00: cards and money; no result depends on it
    FREE = "free"  # how a step is run or watched; no result depends on it


WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
# of a field, and what it is made from
KINDS = {"bool": (bool,), "int": (int, str), "float": (float, int, str), "str": (str,)}


class BadSetting(ValueError):
    """A setting that is none, or a value that it cannot have; `setting` is its name, `value` what was given."""

    def __init__(self, sentence: str, setting: str, value: Any = None):
        super().__init__(sentence)
        self.setting, self.value = setting, value


def setting(stage: Stage, default, help: str, unit: str = "", low=None, high=None, **more):
    """A dataclass field with its rules: `low` to `high`, or one of `choices`.

    `more`: `of`, the setting that a recorded revision belongs to; `resumable`, it may change when a training goes on
    after a stop; `ruler`, it changes how long a training is or where it is measured, so runs that differ in it are no
    fair race.
    """
    rules = {"stage": stage, "help": help, "unit": unit, "low": low, "high": high, "choices": ()}
    return dataclasses.field(default=default, metadata=rules | more)


def checked(field: dataclasses.Field, value):
    """`value` (or text of the environment) in the field's type. Raises BadSetting where the field cannot have it."""
    value = _typed(field.name, str(field.type), value)
    choices, low, high = (field.metadata[name] for name in ("choices", "low", "high"))
    if choices and value not in choices:
        sentence = _("{name}={value!r} is not known: use one of {choices}.")
        raise BadSetting(sentence.format(name=field.name, value=value, choices=", ".join(choices)), field.name, value)
    if low is not None and not low <= value <= high:
        sentence = _("{name}={value!r} is out of range: use {low} to {high}.")
        low, high = plain_number(low), plain_number(high)
        raise BadSetting(sentence.format(name=field.name, value=value, low=low, high=high), field.name, value)
    return value


def _typed(name: str, type_name: str, value):
    kinds = KINDS[type_name]
    value = value.strip() if isinstance(value, str) else value
    if type_name == "bool" and isinstance(value, str):
        if value.lower() not in WORDS:
            sentence = _("{name}={value!r} is not a yes or no: use true or false.")
            raise BadSetting(sentence.format(name=name, value=value), name, value)
        return WORDS[value.lower()]
    try:
        if not isinstance(value, kinds) or isinstance(value, bool) != (type_name == "bool"):
            raise ValueError
        return kinds[0](value)
    except ValueError:
        sentence = _("{name}={value!r} is not of type {type}.")
        raise BadSetting(sentence.format(name=name, value=value, type=type_name), name, value) from None


def plain_number(number: float) -> str:
    """A whole number with all its digits, any other as short as it goes."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def check_names(values, known: list[str], kind: str = "setting") -> None:
    """Raises BadSetting for a name in `values` that is not in `known`, with the nearest one that is."""
    for name in (name for name in values if name not in known):
        match = "".join(difflib.get_close_matches(name, known, n=1))
        sentence = _("{name} is no {kind}. Known are: {known}.")
        if match:
            sentence = _("{name} is no {kind}: did you mean {match}?")
        raise BadSetting(sentence.format(name=name, kind=_(kind), match=match, known=", ".join(known)), name)
