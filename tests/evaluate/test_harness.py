"""The optional benchmark cell, with a task of our own. Runs only where lm_eval is installed: it is no requirement."""

import json

import pytest

pytest.importorskip("lm_eval")

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


def test_a_task_of_our_own(tiny_model, tmp_path):
    from helpers.evaluate.harness import run_harness

    # the tiny model was pretrained on such sentences: it must prefer the real ending to a scrambled one
    rows = [
        {"question": f"오늘 {place}에서 친구도 빵만", "choices": [" 기다려요.", " 요려다기."], "right": 0}
        for place in ("학교", "공원", "시장", "바다")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (tmp_path / "local.yaml").write_text(TASK.format(file=tmp_path / "rows.jsonl"))
    table = run_harness(tiny_model, ["local_places"], task_folder=str(tmp_path))
    assert table.rows == [
        {"task": "local_places", "number": "acc,none", "value": 1.0, "standard error": 0.0, "questions": 4}
    ]
