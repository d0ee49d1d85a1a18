"""The receipt of the tiny run, as notebook 05 wrote it."""

import json

import pytest

from helpers.checkpoints import sha256
from helpers.generation import Reply
from helpers.merging import METHODS
from helpers.receipt import example_replies, receipt_table


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
    files = receipt["files"]
    assert "model.safetensors.index.json" in files and "config.json" in files
    assert all(sha256(merged_run.merged / name) == digest for name, digest in files.items())
    assert not list(merged_run.path.glob("merged.*"))


def test_the_table_marks_the_chosen_one(receipt):
    assert f"{receipt['chosen']}  ← chosen" in repr(receipt_table(receipt))


def test_the_receipt_keeps_replies_for_the_model_card(receipt):
    assert len(receipt["examples"]) == receipt["counts"]["prompts"] >= 3
    prompts = [[{"role": "user", "content": "빵?"}]]
    replies = {name: [Reply(f"{name} says", (1,), True, 3)] for name in ("base", "adapter", *METHODS)}
    told = {"prompt": "빵?", "base": "base says", "adapter": "adapter says", "merged": "16bit-base says"}
    assert example_replies(prompts, replies, "16bit-base") == [told]
