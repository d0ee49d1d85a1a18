"""The receipt of the tiny run, as notebook 05 wrote it."""

import json

import pytest

from helpers.models import folder_digest
from helpers.receipt import receipt_table


@pytest.fixture
def receipt(merged_run):
    return json.loads(merged_run.merge_receipt.read_text(encoding="utf-8"))


def test_every_model_was_measured_on_the_same_rows(receipt):
    measured = receipt["measured"]
    assert list(measured) == ["base", "adapter", "requantised (the trap)", "16bit-base", "dequantised-base"]
    assert receipt["counts"]["rows"] >= 10 and receipt["counts"]["tokens"] > 100
    assert all(row["nll_low"] <= row["nll"] <= row["nll_high"] for row in measured.values())
    assert measured["base"]["nll"] > measured["adapter"]["nll"] + 1


def test_the_dequantised_merge_is_the_adapter_and_the_trap_is_not(receipt):
    measured = receipt["measured"]
    assert measured["dequantised-base"]["kl"] < 1e-3 and measured["dequantised-base"]["agreement"] > 0.97
    assert measured["requantised (the trap)"]["kl"] > 10 * measured["dequantised-base"]["kl"]


def test_the_chosen_one_lies_in_merged_and_is_green(receipt, merged_run):
    assert receipt["verdict"] == "green" and receipt["chosen"] in ("16bit-base", "dequantised-base")
    files = {name: digest for name, digest in receipt["files"].items() if name != "README.md"}
    assert files and all(folder_digest(merged_run.merged / name) == digest for name, digest in files.items())
    assert not list(merged_run.path.glob("merged.*"))


def test_the_table_marks_the_chosen_one(receipt):
    assert f"{receipt['chosen']}  ← chosen" in repr(receipt_table(receipt))
