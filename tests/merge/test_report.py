"""The merge report of the tiny run, as notebook 05 wrote it."""

import json

import pytest

from helpers.evaluate.generation import Reply
from helpers.evaluate.measured import measured_table
from helpers.files import sha256
from helpers.merge.report import example_replies


@pytest.fixture
def report(merged_run):
    return json.loads(merged_run.merge_report.read_text(encoding="utf-8"))


def test_every_model_was_measured_on_the_same_rows(report):
    measured = report["measured"]
    ways = ["requantised merge", "16bit-base", "dequantised-base", "16bit-base, read in 4 bits"]
    assert list(measured) == ["base", "adapter", *ways]
    assert report["counts"]["rows"] >= 10 and report["counts"]["tokens"] > 100
    assert all(row["nll_low"] <= row["nll"] <= row["nll_high"] for row in measured.values())
    assert measured["base"]["nll"] > measured["adapter"]["nll"] + 1


def test_the_dequantised_merge_is_the_adapter_and_the_requantised_merge_is_not(report):
    measured = report["measured"]
    assert measured["dequantised-base"]["kl"] < 1e-3 and measured["dequantised-base"]["agreement"] > 0.97
    assert measured["requantised merge"]["kl"] > 2 * measured["dequantised-base"]["kl"]


def test_the_chosen_one_lies_in_merged_and_is_green(report, merged_run):
    assert report["verdict"] == "green" and report["chosen"] in ("16bit-base", "dequantised-base")
    files = report["files"]
    assert "model.safetensors.index.json" in files and "config.json" in files
    assert all(sha256(merged_run.merged / name) == digest for name, digest in files.items())
    assert not list(merged_run.path.glob("merged.*"))


def test_the_table_marks_the_chosen_one(report):
    assert f"{report['chosen']}  ← chosen" in repr(measured_table(report))


def test_the_report_keeps_replies_for_the_model_card(report):
    assert len(report["examples"]) == report["counts"]["prompts"] >= 3
    prompts = [[{"role": "user", "content": "빵?"}]]
    replies = {name: [Reply(f"{name} says", (1,), True, 3)] for name in ("base", "adapter", "merged")}
    told = {"prompt": "빵?", "base": "base says", "adapter": "adapter says", "merged": "merged says"}
    assert example_replies(prompts, replies) == [told]
