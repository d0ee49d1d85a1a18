"""The optional benchmark cell, with a task of our own. The harness itself runs only where lm_eval is installed."""

import importlib.util
import json
from pathlib import Path

import pytest

from helpers.model.tokenizer import load_tokenizer

TASK = """\
task: local_places
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: right
metric_list:
  - metric: acc
"""


@pytest.mark.skipif(not importlib.util.find_spec("lm_eval"), reason="lm_eval is no requirement")
def test_a_task_of_our_own_on_base_and_merged(tiny_model, tmp_path):
    from helpers.evaluate import harness
    from helpers.runs import RunDir
    from helpers.settings import RunConfig

    rows = [
        {"question": f"오늘 {place}에서 친구도 빵만", "choices": [" 기다려요.", " 요려다기."], "right": 0}
        for place in ("학교", "공원", "시장", "바다")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (tmp_path / "local.yaml").write_text(TASK.format(file=tmp_path / "rows.jsonl"))
    run, config = RunDir(tmp_path / "run"), RunConfig.load("tiny")
    # as 05 leaves it: the base's weights here, and the tokenizer with the trained template
    load_tokenizer(config).save_pretrained(run.merged)
    for file in Path(tiny_model).iterdir():
        if not (run.merged / file.name).exists():
            (run.merged / file.name).symlink_to(file)
    (row,) = harness.run_harness(run, config, ["local_places"], task_folder=str(tmp_path)).rows
    assert row["base"] == row["merged"] and row["difference"] == 0 and row["questions"] == 4
    assert row["interval"] == "+0.000 to +0.000"
    seen = harness._evaluate({"pretrained": str(run.merged)}, ["local_places"], 1, str(tmp_path))
    asked = seen["samples"]["local_places"][0]["arguments"][0][0]
    assert asked != rows[0]["question"] and rows[0]["question"] in asked  # in the chat template


def test_the_difference_is_taken_question_by_question():
    from helpers.evaluate.harness import harness_table

    def results(right, order):
        samples = [{"doc_id": i, "filter": "none", "acc": float(i in right)} for i in order]
        numbers = {"alias": "t", "acc,none": len(right) / 20, "acc_stderr,none": 0.1}
        return {"results": {"t": numbers}, "samples": {"t": samples}, "n-samples": {"t": {"effective": 20}}}

    base, merged = results(range(10), range(20)), results(range(1, 10), reversed(range(20)))
    (row,) = harness_table({"base": base, "merged": merged}).rows
    assert row["difference"] == pytest.approx(-0.05) and row["number"] == "acc,none"
    low, high = (float(part) for part in row["interval"].split(" to "))
    assert -0.35 < low < -0.05 < 0 < high < 0.1  # one of twenty changed, whatever the order of the answers
    (row,) = harness_table({"base": base, "merged": results(range(5), range(19))}).rows
    assert not row["interval"]  # other questions


def test_a_group_before_its_tasks_hides_no_interval_and_one_bad_number_no_table():
    from helpers.evaluate.harness import harness_table

    def results(right, bad=None):
        values = [float("nan") if i == bad else float(i in right) for i in range(20)]
        samples = [{"doc_id": i, "acc": value} for i, value in enumerate(values)]
        numbers = {"group": {"acc,none": 0.5}, "t": {"acc,none": len(right) / 20}, "u": {"acc,none": 0.5}}
        return {"results": numbers, "samples": {"t": samples, "u": samples[:10]}, "n-samples": {}}

    table = harness_table({"base": results(range(9)), "merged": results(range(8), bad=15)})
    assert "interval" in table.names() and [bool(row["interval"]) for row in table.rows] == [False, True, True]
    assert "not finite" in table.rows[1]["interval"] and " to " in table.rows[2]["interval"]
