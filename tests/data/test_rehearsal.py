"""Rehearsal: how many general conversations, where from, never held out, and nothing of what forgetting is measured
on."""

import json
import re
import shutil

import pytest

from helpers.data.copies import overlap
from helpers.data.reasons import Reason
from helpers.data.rehearsal import KOREAN, OWN
from helpers.evaluate.forgetting import GENERAL
from helpers.evaluate.known import KNOWN, is_known
from helpers.files import read_jsonl
from helpers.paths import PROJECT_ROOT
from helpers.runs import RunDir
from tests.data.test_prepare import messages, prepared, questions, settings, write_jsonl


@pytest.fixture
def data(tmp_path):
    return write_jsonl(tmp_path / "own.jsonl", questions(200))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_share_is_of_all_and_the_held_out_part_stays(data, tmp_path, share):
    plain, train, held_out = prepared(settings(data), tmp_path)
    assert "rehearsal" not in plain["rows"]
    report, mixed, still = prepared(settings(data, rehearsal_fraction=share), tmp_path)
    general = [row for row in mixed if row["source"] == "rehearsal"]
    assert still == held_out and mixed[: len(train)] == train and len(mixed) == len(train) + len(general)
    assert len(general) / len(mixed) == pytest.approx(share, abs=0.5 / len(train))
    assert report["rows"] == {**plain["rows"], "rehearsal": len(general)}
    own = {json.dumps(row["messages"], ensure_ascii=False) for row in general}
    # repeated only where there are too few
    assert len(own) == min(len(general), len(read_jsonl(PROJECT_ROOT / KOREAN)))
    assert prepared(settings(data, rehearsal_fraction=share), tmp_path)[1] == mixed  # from the seed alone


@pytest.mark.parametrize("own, file", [("Where is row {}?", OWN), ("{}번 행은 어디인가요?", KOREAN)])
def test_the_project_s_own_are_in_the_language_of_the_training_part(tmp_path, own, file):
    rows = [{"Q": own.format(i * "x"), "A": f"{i}, {i * i}"} for i in range(1, 60)]
    data = write_jsonl(tmp_path / "own.jsonl", rows)
    mixed = prepared(settings(data, rehearsal_fraction=0.9), tmp_path)[1]
    general = {row["messages"][0]["content"] for row in mixed if row["source"] == "rehearsal"}
    assert general == {row["question"] for row in read_jsonl(PROJECT_ROOT / file)}


def test_another_data_set_and_no_conversation_that_is_held_out(data, tmp_path):
    _, train, held_out = prepared(settings(data), tmp_path)
    asked = held_out[0]["messages"]
    rows = [{"Q": asked[0]["content"], "A": asked[1]["content"]}, {"Q": "왜 하늘은 파란가요?", "A": "빛이 흩어져서요."}]
    other = write_jsonl(tmp_path / "other.jsonl", rows)
    config = settings(data, rehearsal_fraction=0.1, rehearsal_dataset_id=str(other))
    _, mixed, still = prepared(config, tmp_path)
    assert still == held_out
    assert {row["messages"][0]["content"] for row in mixed[len(train) :]} == {"왜 하늘은 파란가요?"}
    write_jsonl(other, rows[:1])
    with pytest.raises(ValueError, match="rehearsal_dataset_id=.*other.jsonl.* has no conversation"):
        prepared(config, tmp_path)


@pytest.mark.parametrize("name, languages", [("rehearsal", {"en"}), ("rehearsal_ko", {"ko", "en"})])
def test_the_project_s_own_give_away_nothing_that_forgetting_is_measured_on(name, languages):
    own, data = read_jsonl(PROJECT_ROOT / f"notebooks/data/{name}.jsonl"), read_jsonl(GENERAL)
    assert {language(row["question"]) for row in own} == languages and len({row["question"] for row in own}) == len(own)
    assert len(own) >= {"rehearsal": 80, "rehearsal_ko": 40}[name]
    mine = [messages(row["question"], row["answer"]) for row in own]
    assert overlap(mine, [messages(row["question"], row["answer"]) for row in data if "question" in row])[0] == 0
    for known in read_jsonl(KNOWN):  # neither the question in other words, nor its answer
        if known["kind"] in ("fact", "arithmetic"):
            alike = (row for row in own if language(row["question"]) == known["language"])
            assert not [row for row in alike if is_known(known, row["answer"])], known["question"]


def language(text):
    return "ko" if re.search("[가-힣]", text) else "en"


def test_a_fork_that_goes_on_keeps_what_was_held_out_and_rehearses_what_was_learned(data, tmp_path):
    _, learned, held_out = prepared(settings(data), tmp_path)
    run = RunDir(tmp_path / "run")
    shutil.copytree(run.train_jsonl.parent, run.start)
    # most of the old file, and more
    mixed = write_jsonl(tmp_path / "mixed.jsonl", questions(100, start=300) + questions(120))
    config = settings(mixed, start_from="adapter", rehearsal_fraction=0.1)
    report, train, now = prepared(config, tmp_path)
    old = [{name: row[name] for name in row if name != "earlier"} for row in now if row.get("earlier")]
    assert sorted(map(str, old)) == sorted(map(str, held_out)) and report["rows"]["earlier"] == len(old)
    new = [row for row in now if not row.get("earlier")]
    assert new and now.index(new[0]) < len(now) / 2  # the first rows are a sample of both
    for seen, kept in ((train, now), (learned, new)):
        assert overlap([row["messages"] for row in seen], [row["messages"] for row in kept])[0] == 0
    rows = report["rows"]
    assert rows["read"] == rows["train"] + rows["eval"] + rows["dropped"] and rows["eval"] == len(new)
    assert {"reason": Reason.HELD_BEFORE, "rows": report["drops"][0]["rows"]}.items() <= report["drops"][0].items()
    known = [row["messages"] for row in learned]
    rehearsed = [row["messages"] for row in train if row["source"] == "rehearsal"]
    assert len(rehearsed) == rows["rehearsal"] and all(messages in known for messages in rehearsed)
    assert "earlier" not in prepared(settings(data), tmp_path)[0]["rows"]
