"""A small form of proofs/proof_settings.py: a value goes through the cells of the notebooks, or 03 refuses it."""

import pytest

from proofs.proof_settings import cases, outcome


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("seed", 2**32, "refused: seed=4294967296 is out of range"),
        (
            "lora_target_modules",
            "lm_head",
            "refused: lora_target_modules='lm_head' cannot be used on build:tiny-llama: it adapts the output layer",
        ),
        ("max_length", 8, "refused: The labels are not fit to train on."),
        ("lr_scheduler_type", "reduce_lr_on_plateau", "through"),
    ],
)
def test_a_setting_goes_through_or_is_refused(name, value, told):
    assert outcome(name, value).startswith(told)


def test_every_field_with_a_range_or_a_list_is_tried_at_its_ends():
    tried = set(cases())
    assert {("lora_r", 1), ("lora_r", 4096), ("seed", 2**32 - 1), ("quant_type", "fp4"), ("packing", True)} <= tried
