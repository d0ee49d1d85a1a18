"""Why a model, a setting or an adapter cannot be used."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """What a refusal is about."""

    SETTING = "a setting that cannot work on this model"
    NOT_FOUND = "no such model"
    QUANTISED = "the base is quantised already"
    SCALES = "packed weights without their scales"
    MISSING_WEIGHTS = "the files lack a weight"
    ADAPTER_INSIDE = "the base folder holds an adapter"
    CONFIG = "config.json cannot be read"
    TOKENIZER = "a tokenizer that cannot be used"
    TEMPLATE = "a chat template that cannot be used"
    GENERATION = "generation settings that cannot work"
    ADAPTER = "the adapter's file does not fit"


class Refused(ValueError):
    """A sentence for the reader, its `reason`, and the `setting` that would change it ("" for none)."""

    def __init__(self, reason: Reason, sentence: str, setting: str = "model_id"):
        super().__init__(sentence)
        self.reason, self.setting = reason, setting
