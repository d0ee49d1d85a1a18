"""Raw text: files, folders and a text column become documents, all of which is learned, held out whole."""

import pytest

from helpers.data.formats import recognise
from helpers.data.labels import encode_rows
from helpers.data.prepare import prepare
from helpers.data.verdicts import inspect
from helpers.data.xray import xray
from helpers.evaluate.generation import prompts_and_references
from helpers.files import read_jsonl
from helpers.model.tokenizer import load_tokenizer
from helpers.runs import RunDir
from helpers.template.chat import prompt_ids, render
from tests.data.test_prepare import prepared, questions, settings, write_jsonl


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(settings("x.md"))


def story(number, sentences=4):
    return " ".join(f"{row['Q']} {row['A']}" for row in questions(sentences, start=number * sentences))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "texts"
    (folder / "more").mkdir(parents=True)
    for number in range(24):
        name = f"more/{number}.txt" if number % 2 else f"test-driven {number}.md"
        (folder / name).write_text(story(number, 30 if number == 3 else 4), encoding="utf-8")
    (folder / "README.md").write_text("About these texts.")
    return folder


def test_a_folder_of_texts_is_learned_whole_and_held_out_by_document(folder, tmp_path, tokenizer):
    config, run = settings(folder, max_length=64, packing=True), RunDir(tmp_path / "run")
    report = prepare(config, run, tokenizer)
    train, held_out = read_jsonl(run.train_jsonl), read_jsonl(run.eval_jsonl)
    assert report["dataset"]["name"] == "text" and report["rows"] == {"read": 24, "train": 22, "eval": 2, "dropped": 0}
    assert any("README.md" in note for note in report["data"][0]["notes"])
    assert not {row["source"] for row in train} & {row["source"] for row in held_out}
    long = next(row for row in train if row["source"] == "3.txt")
    rows = encode_rows([long], tokenizer, config)
    text = tokenizer.bos_token + long["messages"][0]["content"] + tokenizer.eos_token
    assert sum(rows["input_ids"], []) == tokenizer(text, add_special_tokens=False).input_ids
    assert rows["labels"] == rows["input_ids"] and max(map(len, rows["input_ids"])) == 64 and len(rows) > 2
    assert len(encode_rows(held_out, tokenizer, config)) == 2  # one vote each
    found = inspect(train, held_out, tokenizer, config)
    red = [verdict["check"] for verdict in found["verdicts"] if verdict["verdict"] == "red"]
    assert red == [] and len(found["lengths"]) == len(encode_rows(train, tokenizer, config))
    shown = repr(xray(held_out[:1], tokenizer, config))
    assert shown.startswith(f"[{tokenizer.bos_token}]") and shown.count("[") > 20


def test_a_document_that_lost_its_end_or_a_part_of_its_labels_is_red(tokenizer):
    from helpers.data.labels import encode
    from helpers.data.verdicts import judge

    row, config = {"messages": [{"role": "document", "content": story(1, 1)}]}, settings("x.md", max_length=512)
    whole = encode(tokenizer, row["messages"], 512)
    broken = (
        {name: values[:-1] for name, values in whole.items()},
        {**whole, "labels": [-100] * 9 + whole["labels"][9:]},
        {name: [values[0], *values] for name, values in whole.items()},
    )
    for encoded, check in zip((whole, *broken), ("", "end", "answer", "BOS"), strict=True):
        red = [found["check"] for found in judge([row], [encoded], tokenizer, config)["verdicts"] if not found["ok"]]
        assert bool(red) == bool(check) and all(check in " ".join(red) for _ in red), (check, red)


def test_a_text_alone_is_cut_at_blank_lines(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text("\n\n".join(story(number, 20) for number in range(12)), encoding="utf-8")
    report, train, held_out = prepared(settings(file), tmp_path)
    assert "read as 6 passages" in " ".join(report["data"][0]["notes"]) and len(train) + len(held_out) == 6
    assert all(not row["messages"][0]["content"].startswith("\n") for row in train)


@pytest.mark.parametrize(
    ("row", "raw"),
    [
        ({"text": "A plain text."}, True),
        ({"text": "A plain text.", "title": "T", "url": "https://x.y"}, True),
        ({"text": "A film that I liked.", "label": 1}, False),  # what for? a label is no part of a text
        ({"text": "### Human: Hi\n### Assistant: Hello"}, False),
        ({"text": "[INST] Hi [/INST] Hello"}, False),
        ({"text": "<|im_start|>user\nHi"}, False),
        ({"text": "질문: 왜요?\n답변: 그냥요."}, False),
        ({"text": "User: hi\nAssistant: hello"}, False),
        ({"text": "A chat with an AI. USER: 안녕? ASSISTANT: 네."}, False),
        ({"text": "Q: 물?\nA: 불."}, False),
        ({"text": "고객: 언제 와요?\n상담사: 내일요."}, False),
        ({"text": "**User:** hi\n\n**Assistant:** hello"}, False),
        ({"text": "아래는 명령어입니다.\n\n### 명령어:\n물?\n\n### 응답:\n불."}, False),
        ({"text": "### Instruction\nhi\n\n### Response\nhello"}, False),
        ({"text": "[|Human|]hi\n[|AI|]hello"}, False),
        ({"text": "The user: a person. He said: yes."}, True),
        ({"text": "A user\nAnswers: two.\nQuality\nA.\nB: 고객 만족도 조사"}, True),
    ],
)
def test_a_text_column_is_raw_text_where_nothing_says_that_it_is_more(row, raw):
    if raw:
        assert recognise([row]).name == "text"
    else:
        with pytest.raises(ValueError, match="dataset_format"):
            recognise([row])
    assert recognise([row], "text").columns == ("text",)


def test_of_a_document_the_second_half_is_asked_for(tokenizer):
    row = {"messages": [{"role": "document", "content": "one two three four"}]}
    (prompt,), (reference,) = prompts_and_references([row])
    assert prompt[0]["content"] + reference == "one two three four" and reference.startswith(" ")
    asked = render(tokenizer, prompt, add_generation_prompt=True)
    assert asked == tokenizer.bos_token + prompt[0]["content"] and prompt_ids(tokenizer, prompt)


def test_tables_beside_texts_are_the_data_and_empty_texts_are_counted(folder, tmp_path):
    write_jsonl(folder / "rows.jsonl", questions(30))
    report, *_ = prepared(settings(folder), tmp_path)
    assert report["dataset"]["name"] == "question-answer" and report["rows"]["read"] == 30
    write_jsonl(tmp_path / "t.jsonl", [{"text": story(n)} for n in range(20)] + [{"text": " \n"}, {"text": None}])
    report, train, held_out = prepared(settings(tmp_path / "t.jsonl"), tmp_path)
    assert report["rows"]["dropped"] == 2 and {row["messages"][0]["role"] for row in train + held_out} == {"document"}
