"""From files and the hub to train.jsonl and eval.jsonl: every row counted, nothing held out that was also trained
on."""

import csv
import json
import os
import random
import subprocess
import sys

import pytest

from helpers.data import prepare
from helpers.data.copies import NEAR, CopyIndex, overlap, pieces
from helpers.data.reasons import Reason
from helpers.data.sources import data_size, read_rows
from helpers.data.start import with_revisions
from helpers.files import read_jsonl
from helpers.paths import local_path
from helpers.runs import RunDir
from helpers.settings import RunConfig
from tests.conftest import ROOT
from tests.hub_double import hub_with_client


def settings(path, **overrides) -> RunConfig:
    return RunConfig.load("tiny", **{"dataset_id": str(path), "max_rows": 0, **overrides})


def prepared(config, folder):
    """(report, training rows, held-out rows)"""
    run = RunDir(folder / "run")
    report = prepare.prepare(config, run)
    return report, read_jsonl(run.train_jsonl), read_jsonl(run.eval_jsonl)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def questions(count, start=0):
    """Rows that are no near copies of each other."""
    words = "바다 강물 노을 별빛 구름 나무 언덕 들판 안개 새벽 저녁 가을 봄비 눈꽃 바람".split()
    rows = []
    for i in range(start, start + count):
        told = " ".join(words[(i // 15**k + k * 4) % 15] * (k + 1) for k in range(3))
        rows.append({"Q": f"{i}번째 {told} 이야기?", "A": f"{told[::-1]} {i * 7919 % 10007}."})
    return rows


def messages(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


# --- counts


def test_kept_and_dropped_add_up_per_source(tmp_path):
    good = [{"source": "a", "text": f"<usr> {row['Q']}\n<bot> {row['A']}"} for row in questions(40)]
    bad = [{"source": "b", "text": text} for text in ("<usr> 질문만", None, "<usr> 안녕\n<bot> ")]
    path = write_jsonl(tmp_path / "rows.jsonl", [*good, *bad, {"source": "a", "text": good[3]["text"]}])
    with path.open("a") as file:
        file.write('{"source": "b", "text": "<usr> 잘린\n')
    report, train, held_out = prepared(settings(path), tmp_path)
    rows = report["rows"]
    assert rows == {"read": 45, "train": len(train), "eval": len(held_out), "dropped": 5}
    assert rows["read"] == rows["train"] + rows["eval"] + rows["dropped"]
    reasons = {row["reason"]: row["by_source"] for row in report["drops"]}
    assert reasons == {
        "no question followed by an answer": {"b": 1},
        "the text is missing": {"b": 1},
        "an empty turn": {"b": 1},
        Reason.AGAIN: {"a": 1},
        "not a JSON object, or not one value per column": {"rows": 1},
    }
    assert all(row["example"] for row in report["drops"])
    assert {row["source"]: (row["read"], row["dropped"]) for row in report["sources"]} == {
        "a": (41, 1), "b": (3, 3), "rows": (1, 1)
    }  # fmt: skip
    assert train[0].keys() == {"messages", "source"}


def test_nothing_left_to_train_on_says_why(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": "<usr> 질문만"}] * 3)
    with pytest.raises(ValueError, match="no conversation to train on, of 3 rows read .no question .*: 3"):
        prepared(settings(path), tmp_path)


def test_nothing_left_to_hold_out_says_why(tmp_path):
    copies = [{"Q": "같은 질문을 조금씩 다르게 묻습니다" + "?" * i, "A": "그렇군요."} for i in range(30)]
    with pytest.raises(ValueError, match="leaves nothing to hold out.*Raise eval_fraction=0.1"):
        prepared(settings(write_jsonl(tmp_path / "rows.jsonl", copies)), tmp_path)


def test_repairs_are_counted_with_an_example(tmp_path):
    rows = [{"text": f"<bot> 네?\n<usr> {row['Q']}\n<bot> {row['A']}"} for row in questions(5)]
    report, *_ = prepared(settings(write_jsonl(tmp_path / "rows.jsonl", rows)), tmp_path)
    (repair,) = report["repairs"]
    assert (repair["reason"], repair["rows"]) == ("answer before the first question cut off", 5)


# --- the split


def test_the_split_is_seeded_and_does_not_depend_on_the_order(tmp_path):
    rows = questions(200)
    forward = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)
    backward = prepared(settings(write_jsonl(tmp_path / "b.jsonl", rows[::-1])), tmp_path)
    other = prepared(settings(tmp_path / "a.jsonl", seed=7), tmp_path)
    held = [{row["messages"][0]["content"] for row in result[2]} for result in (forward, backward, other)]
    assert len(held[0]) == 20 and held[0] == held[1] and held[0] != held[2]
    assert forward[2] == [{**row, "source": "a"} for row in backward[2]]  # its order does not depend on theirs either


def test_the_first_held_out_rows_are_a_sample_of_all_sources(tmp_path):
    """What 05 and 06 look at first: of sorted data, a head in file order would be one source only."""
    rows = [{**row, "source": f"part {i // 100}"} for i, row in enumerate(questions(400))]
    config = settings(write_jsonl(tmp_path / "sorted.jsonl", rows), eval_fraction=0.2)
    held = prepared(config, tmp_path)[2]
    assert {row["source"] for row in held[:20]} == {f"part {i}" for i in range(4)}


@pytest.mark.parametrize(("fraction", "most", "expected"), [(0.1, 200, 20), (0.5, 7, 7), (0.001, 200, 1), (0.0, 200, 0)])  # fmt: skip
def test_how_many_are_held_out(tmp_path, fraction, most, expected):
    config = settings(write_jsonl(tmp_path / "a.jsonl", questions(200)), eval_fraction=fraction, max_eval_rows=most)
    report, train, held_out = prepared(config, tmp_path)
    assert (len(held_out), len(train)) == (expected, 200 - expected)


def test_no_near_copy_of_a_held_out_row_is_trained_on(tmp_path):
    rows = questions(150)
    nearly = [{"Q": row["Q"].replace(" ", "  ").replace("?", "요?"), "A": row["A"].rstrip(".")} for row in rows]
    report, train, held_out = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows + nearly)), tmp_path)
    assert overlap([row["messages"] for row in train], [row["messages"] for row in held_out])[0] == 0
    assert {row["reason"]: row["rows"] for row in report["drops"]}[Reason.COPY] > 10
    assert report["rows"]["read"] == len(train) + len(held_out) + report["rows"]["dropped"] == 300


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("오늘 날씨가 정말 좋네요", "오늘 날씨가 정말 좋네요!!", True),
        ("오늘 날씨가 정말 좋네요", "오늘날씨가 정말좋네요", True),
        ("Today is a good day to go for a walk", "TODAY is a good day to go for a walk.", True),
        ("오늘 날씨가 정말 좋네요 산책하기 좋은 날이에요", "오늘 날씨가 정말 좋네요 산책하기 좋은 날이군요", True),
        ("오늘 날씨가 정말 좋네요", "내일 점심은 무엇을 먹을까요", False),
        ("3 + 4는 얼마예요", "8 + 9는 얼마인가요", False),
        ("네", "예", False),
        ("네", "네.", True),
        ("?!", "?!", True),
        ("?!", "...", False),
    ],
)
def test_what_a_near_copy_is(one, other, same):
    index = CopyIndex([messages(one, "비가 와요.")])
    assert bool(index.copies_of(messages(other, "비가 와요." if same else "눈이 내렸지."))) == same


def test_the_index_finds_what_comparing_all_pairs_finds():
    """The 8 smallest hashes are a shortcut; on 60 x 60 texts it must lose nothing."""
    pick = random.Random(1)
    base = [row["Q"] + row["A"] for row in questions(60)]
    changed = ["".join(c for c in text if pick.random() > 0.04) for text in base]
    found = CopyIndex([messages(text, "네") for text in base])
    for text in changed:
        mine = set(pieces(messages(text, "네")).tolist())
        sets = [set(known.tolist()) for known in found.pieces]
        expected = [n for n, known in enumerate(sets) if len(mine & known) >= NEAR * len(mine | known)]
        assert sorted(found.copies_of(messages(text, "네"))) == expected


# --- sources


def as_csv(path, rows, encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def as_parquet(path, rows):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


WRITERS = {
    "rows.csv": as_csv,
    "excel.csv": lambda path, rows: as_csv(path, rows, "utf-8-sig"),
    "rows.jsonl": write_jsonl,
    "lines.json": write_jsonl,
    "list.json": lambda path, rows: path.write_text(json.dumps(rows)),
    "wrapped.json": lambda path, rows: path.write_text(json.dumps({"version": "1", "data": rows})),
    "rows.parquet": as_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file(tmp_path, name):
    rows = questions(30)
    WRITERS[name](tmp_path / name, rows)
    assert list(read_rows(settings(tmp_path / name))) == rows


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path):
    rows = questions(30)
    folder = tmp_path / "set"
    folder.mkdir()
    write_jsonl(folder / "b.jsonl", rows[20:])
    as_csv(folder / "a.csv", rows[:20])
    (folder / "README.md").write_text("not data")
    (folder / "set.py").write_text("raise SystemExit('a script ran')")
    assert list(read_rows(settings(folder))) == rows
    assert data_size(settings(folder)) == sum(path.stat().st_size for path in folder.iterdir())


def test_a_csv_line_with_too_many_or_too_few_fields_is_dropped(tmp_path):
    (tmp_path / "a.csv").write_text("Q,A\n하나?,네.\n둘?,네,넵.\n셋?\n넷?,그럼요.\n")
    report, train, held_out = prepared(settings(tmp_path / "a.csv", eval_fraction=0.0), tmp_path)
    assert len(train) == 2 and report["drops"][0]["rows"] == 2 and "둘" in report["drops"][0]["example"]


def test_a_sorted_file_is_not_cut_to_its_head(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", questions(1000))
    numbers = [int(row["Q"].split("번째")[0]) for row in read_rows(settings(path, max_rows=100))]
    assert len(numbers) == 100 and numbers == sorted(numbers) and 400 < sum(numbers) / 100 < 600
    assert numbers != [int(row["Q"].split("번째")[0]) for row in read_rows(settings(path, max_rows=100, seed=1))]
    assert len(list(read_rows(settings(path, max_rows=5000)))) == 1000


def test_errors_say_what_to_do(tmp_path):
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(ValueError, match="a.xlsx holds no data file that is known: use .jsonl, .json, .csv"):
        list(read_rows(settings(tmp_path / "a.xlsx")))
    with pytest.raises(FileNotFoundError, match="data/none.csv.*is no file or folder here"):
        list(read_rows(settings("data/none.csv")))


def test_revisions_are_recorded_and_a_change_is_said(tmp_path, capsys):
    path, run = write_jsonl(tmp_path / "a.jsonl", questions(10)), RunDir(tmp_path / "run")
    run.path.mkdir()
    config = with_revisions(settings(path), run)
    assert config.dataset_revision.startswith("sha256:") and config.model_revision.startswith("sha256:")
    run.save_config(config)
    with_revisions(settings(path), run)
    assert capsys.readouterr().out == ""
    write_jsonl(path, questions(11))
    changed = with_revisions(settings(path), run)
    assert changed.dataset_revision != config.dataset_revision
    assert f"dataset_revision is now {changed.dataset_revision}, and was" in capsys.readouterr().out


# --- the hub, over real HTTP, with the real client


HUB_READER = """
import json, sys
from dataclasses import replace
from helpers.settings import RunConfig
from helpers.data.reasons import Reason
from helpers.data.sources import data_revision, data_size, read_rows
asked = json.loads(sys.argv[1])
config = RunConfig.load("tiny", **{"max_rows": 0, **asked})
try:
    config = replace(config, dataset_revision=data_revision(config))
    print(json.dumps([config.dataset_revision, data_size(config), [row["Q"] for row in read_rows(config)]]))
except ValueError as error:
    print(json.dumps(["ValueError", str(error), []]))
"""


@pytest.fixture(scope="module")
def read_hub(tmp_path_factory):
    """Reads a hub data set in a process of its own, against the double; gives revision, bytes and questions."""
    home, content = tmp_path_factory.mktemp("hf"), json.dumps(questions(3), ensure_ascii=False)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in questions(100)).encode()
    with hub_with_client(home, "helpers.data.sources", "datasets") as hub:
        hub.add_repo("alice/talks", {"train.jsonl": lines})
        hub.add_repo("alice/script", {"script.py": b"raise SystemExit", "rows.txt": content.encode()})

        def read(**asked):
            environment = {**os.environ, **hub.environment(), "HF_HOME": str(home)}
            command = [sys.executable, "-c", HUB_READER, json.dumps(asked)]
            done = hub.run(command, cwd=ROOT, env=environment)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout.splitlines()[-1])

        read.commit, read.size = hub.repos["alice/talks"].sha, len(lines)
        yield read


ALL = [row["Q"] for row in questions(100)]


def test_hub_split_slices(read_hub):
    assert read_hub(dataset_id="alice/talks", dataset_split="train[:10%]") == [read_hub.commit, read_hub.size, ALL[:10]]


def test_hub_sample_and_streaming(read_hub):
    sample = read_hub(dataset_id="alice/talks", max_rows=20)[2]
    assert len(sample) == 20 and sample == sorted(sample, key=ALL.index) and sample != ALL[:20]
    assert read_hub(dataset_id="alice/talks", dataset_streaming=True)[2] == ALL
    streamed = read_hub(dataset_id="alice/talks", dataset_streaming=True, max_rows=20)[2]
    assert len(set(streamed)) == 20 and set(streamed) != set(ALL[:20])


def test_hub_refusals(read_hub):
    refused = read_hub(dataset_id="alice/talks", dataset_streaming=True, dataset_split="train[:10%]")
    assert refused[:2] == [
        "ValueError",
        "dataset_split='train[:10%]' cannot be streamed: use 'train' and max_rows, or dataset_streaming=False.",
    ]
    assert "wants to run its own program, which is refused" in read_hub(dataset_id="alice/script")[1]


# --- at full size


def test_chatbot_data_goes_through_whole(tmp_path):
    """11,823 real rows with columns Q, A, label; where they are not at hand, as many of the same shape."""
    path = local_path("../shared/data/ChatbotData.csv")
    if path is None:
        path = tmp_path / "ChatbotData.csv"
        as_csv(path, [{**row, "label": str(i % 3)} for i, row in enumerate(questions(11_823))])
    report, train, held_out = prepared(settings(path, max_eval_rows=200), tmp_path)
    rows = report["rows"]
    assert report["dataset"]["columns"] == ("Q", "A") and rows["read"] == 11_823
    assert rows["read"] == len(train) + len(held_out) + rows["dropped"] and rows["dropped"] < 500
    assert len(held_out) > 150 and overlap([r["messages"] for r in train], [r["messages"] for r in held_out])[0] == 0


PEAK = """
import json, re, sys
from pathlib import Path
from helpers.data import prepare
from helpers.settings import RunConfig
from helpers.runs import RunDir
import numpy
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])  # kB, of this process alone
before = peak()
report = prepare.prepare(RunConfig.load("tiny", dataset_id=sys.argv[1], max_rows=0), RunDir(Path(sys.argv[2])))
print(json.dumps([report["rows"]["read"], peak() - before]))
"""


def test_memory_does_not_grow_with_the_text(tmp_path):
    """Ten times the text needs hardly more memory: 12,000 rows of 1,600 characters, 49 MB in UTF-8."""
    peaks = []
    for times in (10, 100):
        path = tmp_path / f"{times}.jsonl"
        long = [{**row, "A": row["A"] + " 가나다라마바사아자차카타파하" * times} for row in questions(12_000)]
        command = [sys.executable, "-c", PEAK, str(write_jsonl(path, long)), str(tmp_path / "run")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        read, kilobytes = json.loads(done.stdout.splitlines()[-1])
        assert read == 12_000
        peaks.append(kilobytes)
    assert peaks[1] < peaks[0] + 8_000
