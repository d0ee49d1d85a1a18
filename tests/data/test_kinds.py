"""Kinds of faults that strangers' data brought, each with several cases: what is learned, dropped, counted, or red."""

import gzip
import json
import os
import stat
import subprocess
import sys
import unicodedata
import zipfile
from functools import partial

import pytest

from helpers.data.formats import convert, recognise
from helpers.data.leftovers import Leftover, Leftovers, kinds
from helpers.data.reasons import Reason, Repair, Unusable
from helpers.data.split import beginning_key, split_pairs
from helpers.data.tally import what_was_done
from helpers.data.verdicts import held_out_verdict, steps_verdict
from helpers.files import give_usual_modes, write_atomic
from helpers.paths import local_path
from helpers.settings import RunConfig
from tests.conftest import ROOT
from tests.data.test_prepare import as_csv, as_parquet, messages, prepared, questions, settings, write_jsonl

CONFIG = RunConfig.load("tiny")


def as_messages(row, rows=()):
    return convert(row, recognise([row, *rows]))


def reasons(report) -> dict:
    return {row["code"]: row["rows"] for row in report["drops"]}


# --- text of the user is text


JSON_TEXTS = ['{"도시": "울산", "번호": 0}', '["창문", "물"]', '["기차"]', '{"text": ["울산"], "확신": 0.9}', "[]", "{'a': None}", '[{"role": "user"}]']  # fmt: skip


@pytest.mark.parametrize("text", JSON_TEXTS)
@pytest.mark.parametrize(("asked", "answered"), [("instruction", "output"), ("question", "answer"), ("prompt", "completion"), ("query", "response")])  # fmt: skip
def test_a_text_that_looks_like_json_is_learned_letter_by_letter(text, asked, answered):
    for question, answer in (("뭐?", text), (text, "네."), (text, text)):
        done = as_messages({asked: question, answered: answer})
        assert [turn["content"] for turn in done.messages] == [question, answer] and not done.repairs
    pair = as_messages({"prompt": text, "chosen": text, "rejected": "흥."})
    assert [turn["content"] for turn in pair.messages] == [text, text]


@pytest.mark.parametrize("answer", [*JSON_TEXTS, "[5]", "[1, 2]", '{"b":1}', ["기차"], {"b": 1}])
@pytest.mark.parametrize(("asked", "answered"), [("instruction", "output"), ("question", "answer"), ("prompt", "completion"), ("input", "output")])  # fmt: skip
def test_a_format_that_is_set_reads_what_auto_reads(answer, asked, answered):
    for question in ("뭐?", "[1, 2, 3]"):
        row = {asked: question, answered: answer}
        form = recognise([row])
        assert convert(row, recognise([row], form.name)) == convert(row, form)


def test_structure_is_read_where_the_column_is_for_structure_or_the_format_is_asked_for():
    said = [{"role": "user", "content": "물"}, {"role": "assistant", "content": "불"}]
    assert as_messages({"messages": json.dumps(said)}).messages == said
    row = {"questions": '["하나?", "둘?"]', "answers": '["1", "2"]'}
    assert len(convert(row, recognise([row], "question-answer")).messages) == 4 and len(as_messages(row).messages) == 2


ASKED, ANSWERED_SO = messages("물?", "불.")


@pytest.mark.parametrize("as_text", [str, json.dumps])
@pytest.mark.parametrize(
    ("row", "roles"),
    [
        ({"prompt": "물?", "chosen": [ASKED, ANSWERED_SO], "rejected": [ASKED, messages("", "흥.")[1]]}, "ua"),
        ({"prompt": [ASKED], "chosen": [ANSWERED_SO], "rejected": messages("", "흥.")[1:]}, "ua"),
        ({"chosen": [ASKED, ANSWERED_SO], "rejected": [ASKED]}, "ua"),
        ({"prompt": [ASKED], "chosen": "불.", "rejected": "흥."}, "ua"),
        ({"prompt": [ASKED], "chosen": ANSWERED_SO, "rejected": messages("", "흥.")[1]}, "ua"),
        ({"prompt": [{"role": "system", "content": "짧게."}, ASKED], "completion": [ANSWERED_SO]}, "sua"),
        ({"prompt": [ASKED], "completion": "불."}, "ua"),
    ],
)  # fmt: skip
def test_turns_that_a_table_holds_as_text_are_turns(row, roles, as_text):
    written = {name: value if isinstance(value, str) else as_text(value) for name, value in row.items()}
    done = as_messages(written)
    assert [turn["role"][0] for turn in done.messages] == [*roles]
    assert [turn["content"] for turn in done.messages][-2:] == ["물?", "불."] and done == as_messages(row)


BRIEF, EARLIER = {"role": "system", "content": "짧게."}, messages("안녕?", "네.")


@pytest.mark.parametrize(
    ("prompt", "chosen", "roles"),
    [
        ("물?", [BRIEF, ASKED, ANSWERED_SO], "sua"),
        *((asked, [ASKED, ANSWERED_SO], "ua") for asked in ("물?\n", " 물?", unicodedata.normalize("NFD", "물?"))),
        ([BRIEF, ASKED], [ASKED, ANSWERED_SO], "sua"),
        ([BRIEF, ASKED], [BRIEF, ASKED, ANSWERED_SO], "sua"),
        ("물?", [*EARLIER, ASKED, ANSWERED_SO], "uaua"),
        ("안녕?", [*EARLIER, ASKED, ANSWERED_SO], "uaua"),
        ([*EARLIER, ASKED], [ASKED, ANSWERED_SO], "uaua"),
        ([*EARLIER, ASKED], [*EARLIER, ASKED, ANSWERED_SO], "uaua"),
        (EARLIER, [ASKED, ANSWERED_SO], "uaua"),
        ("물?", [BRIEF, ANSWERED_SO], "sua"),
        ([ASKED], "불.", "ua"),
    ],
)  # fmt: skip
def test_the_question_of_a_pair_is_asked_once(prompt, chosen, roles):
    done = as_messages({"prompt": prompt, "chosen": chosen, "rejected": chosen})
    assert [turn["role"][0] for turn in done.messages] == [*roles] and done.repairs == (Repair.PAIR,)
    assert [turn["content"] for turn in done.messages][-2:] == ["물?", "불."]


@pytest.mark.parametrize(("asked", "answered"), [("instruction", "output"), ("question", "answer"), ("prompt", "completion")])  # fmt: skip
def test_an_answer_that_shows_turns_stays_a_text(asked, answered):
    shown = json.dumps([ASKED, ANSWERED_SO], ensure_ascii=False)
    done = as_messages({asked: "대화를 하나 지어 줘", answered: shown})
    assert [turn["content"] for turn in done.messages] == ["대화를 하나 지어 줘", shown] and not done.repairs


@pytest.mark.parametrize(("answer", "word"), [(True, "true"), (False, "false")])
def test_true_and_false_as_answers_are_words(answer, word):
    done = as_messages({"question": "참?", "passage": "글", "answer": answer})
    assert done.messages[1]["content"] == word and Repair.WORD in done.repairs


@pytest.mark.parametrize(
    "value",
    [{"도시": "울산", "번호": [1, None]}, {"a": {"b": True}}, {"text": ["울산"], "확신": 1}, ["기차"], ["기차", "물"], [], {}, [{"이름": "물"}], {"role": "의사"}],
)  # fmt: skip
@pytest.mark.parametrize("shape", [
    lambda value: {"instruction": "뽑아", "output": value}, lambda value: {"prompt": "뽑아", "completion": value},
    lambda value: {"input": "뽑아", "output": value}, lambda value: {"prompt": "뽑아", "chosen": value, "rejected": "x"},
    lambda value: {"messages": messages("뽑아", value if isinstance(value, dict) and value else {"a": value})},
])  # fmt: skip
def test_a_list_or_an_object_in_place_of_a_text_is_its_json(shape, value):
    done = as_messages(shape(value))
    assert json.loads(done.messages[1]["content"]) in (value, {"a": value}) and Repair.OBJECT in done.repairs


def test_one_side_may_be_turns_and_the_other_a_text():
    asked, answered = messages("물?", "불.")
    for row in ({"prompt": "물?", "completion": [answered]}, {"prompt": [asked], "completion": "불."}):
        assert as_messages(row).messages == [asked, answered]
    row = {"instruction": "뽑아", "input": {"글": "물"}, "output": "불"}
    assert as_messages(row).messages[0]["content"] == '뽑아\n\n{"글": "물"}'


def test_rows_that_differ_in_a_column_that_is_not_read_are_amber(tmp_path):
    rows = [{"instruction": "분류해", "sentence": row["Q"], "output": "가나다라마바사"[i % 7]} for i, row in enumerate(questions(60))]  # fmt: skip
    report = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows), eval_fraction=0.3), tmp_path)[0]
    assert report["lost"]["verdict"] == "amber" and report["lost"]["ok"]


# --- encodings


LINES = [json.dumps({"Q": row["Q"], "A": row["A"]}, ensure_ascii=False) for row in questions(40)]
ENGLISH = [json.dumps({"Q": f"What is {i}?", "A": f"A kite for 김가 number {i * 37}."}, ensure_ascii=False) for i in range(40)]  # fmt: skip


@pytest.mark.parametrize("broken", [b"\x92", b"\xea\xb0", b"\xa0", b"\xff\xfe", "김".encode("cp949")])
@pytest.mark.parametrize("lines", [LINES, ENGLISH], ids=["Korean", "English"])
@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_a_broken_place_in_utf8_costs_its_row_and_is_named(tmp_path, broken, lines, ending):
    rows = list(map(json.loads, lines))
    path = tmp_path / f"a{ending}"
    (as_csv if ending == ".csv" else write_jsonl)(path, rows)
    content = path.read_bytes().split(b"\n")
    place = 18
    content[place] = content[place][:12] + broken + content[place][12:]
    path.write_bytes(b"\n".join(content))
    report, train, held_out = prepared(settings(path), tmp_path)
    assert reasons(report)["BROKEN_BYTES"] == 1 and len(train) + len(held_out) == 39
    assert f"({place + 1})" in report["data"][0]["notes"][0]
    assert f"line {place + 1}" in report["drops"][0]["example"]


@pytest.mark.parametrize(("encoding", "name"), [("cp949", "CP949"), ("cp1252", "CP1252"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16-LE"), ("utf-16-be", "UTF-16-BE")])  # fmt: skip
def test_another_character_set_is_read_and_shown_with_a_line(tmp_path, encoding, name):
    rows = questions(30)
    if encoding == "cp1252":
        rows = [{"Q": f"Où est la clé {i} ?", "A": f"Près de la fenêtre nº {i * 7919 % 997}, à l’étage."} for i in range(30)]  # fmt: skip
    as_csv(tmp_path / "a.csv", rows, encoding)
    report, train, held_out = prepared(settings(tmp_path / "a.csv"), tmp_path)
    note = report["data"][0]["notes"][0]
    assert name in note and rows[0]["A"][:8] in note
    assert {row["messages"][0]["content"] for row in train + held_out} == {row["Q"] for row in rows}


@pytest.mark.parametrize("encoding", ["shift-jis", "cp1251", "gb18030", "iso2022_jp"])
def test_what_no_asked_for_family_explains_is_refused(tmp_path, encoding):
    texts = {"cp1251": "Привет, как дела сегодня", "gb18030": "今天天气很好我们去散步吧"}
    text = texts.get(encoding, "こんにちは、今日はいい天気ですね")
    rows = [{"Q": f"{text} {i}?", "A": f"{text * 2} {i}"} for i in range(20)]
    as_csv(tmp_path / "a.csv", rows, encoding)
    if encoding == "iso2022_jp":  # seven bits: it is valid ASCII
        return
    with pytest.raises(ValueError, match="no character set"):
        prepared(settings(tmp_path / "a.csv"), tmp_path)


@pytest.mark.parametrize("place", [3, 60])
@pytest.mark.parametrize("count", [1, 40])
def test_nul_bytes_do_not_make_utf16(tmp_path, place, count):
    path = write_jsonl(tmp_path / "a.jsonl", questions(80))
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:place], b"\0" * count + lines[place], *lines[place + 1 :]]))
    report, train, held_out = prepared(settings(path), tmp_path)
    assert len(train) + len(held_out) == 80 and not report["data"][0]["notes"]


def test_nul_inside_a_text_is_taken_out_and_counted():
    done = as_messages({"question": "물\0은?", "answer": "불\0"})
    assert [turn["content"] for turn in done.messages] == ["물은?", "불"] and done.repairs == (Repair.NUL,)


@pytest.mark.parametrize(("text", "lines", "repairs"), [("물\r불\r흙", "물\n불\n흙", (Repair.RETURN,)), ("물\r\r불", "물\n\n불", (Repair.RETURN,)), ("물\r\r\n불", "물\n불", (Repair.RETURN,)), ("물\r\n불\r\n", "물\n불", ())])  # fmt: skip
def test_line_ends_of_every_kind_are_one(text, lines, repairs):
    done = as_messages({"question": text, "answer": text})
    assert [turn["content"] for turn in done.messages] == [lines, lines] and done.repairs == repairs


# --- the unit of the split


def batched(turns):
    return zip(turns[::2], turns[1::2], strict=True)


def talk(number, turns):
    rows = questions(turns, start=1000 * number)
    return [turn for row in rows for turn in messages(row["Q"], row["A"])]


@pytest.mark.parametrize("system", [False, True])
def test_conversations_that_begin_alike_go_to_one_side(tmp_path, system):
    head = [{"role": "system", "content": "짧게."}] if system else []
    rows = [{"messages": head + talk(i, 4)[: 2 * n]} for i in range(40) for n in (1, 2, 3, 4)]
    _, train, held_out = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)
    sides = [{beginning_key(row["messages"]) for row in side} for side in (train, held_out)]
    assert 8 < len(held_out) <= 16 and not sides[0] & sides[1]


def test_questions_that_differ_in_signs_and_widths_go_to_one_side(tmp_path):
    written = ["{}", "{}.", "{}?!", "{}\u200b", "\u202a{}", "**{}**", "“{}”", "ＡＢ {}"]
    rows = [{"question": form.format("AB " * ("Ａ" not in form) + row["Q"]), "answer": f"{i} {n} {row['A'][::-1]}"}
            for i, row in enumerate(questions(30)) for n, form in enumerate(written)]  # fmt: skip
    _, train, held_out = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)
    plain = str.maketrans(dict.fromkeys(" .?!\u200b\u202a*“”") | {"Ａ": "A", "Ｂ": "B"})
    sides = [{row["messages"][0]["content"].translate(plain) for row in side} for side in (train, held_out)]
    assert held_out and not sides[0] & sides[1]
    signs = [[{"role": "user", "content": text}] for text in ("+", "-")]
    assert beginning_key(signs[0]) != beginning_key(signs[1])


@pytest.mark.parametrize(
    "cut", [lambda talk, n: talk[2 * n :], lambda talk, n: talk[2 * n : 2 * n + 4]], ids=["ends", "windows"]
)
def test_ends_and_windows_of_one_conversation_go_to_one_side(tmp_path, cut):
    rows = [{"messages": cut(talk(i, 5), n)} for i in range(40) for n in range(4)]
    report, train, held_out = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)
    said = [{turn["content"] for row in side for turn in row["messages"]} for side in (train, held_out)]
    assert 8 < len(held_out) <= 16 and not said[0] & said[1] and not report["drops"]


@pytest.mark.parametrize(("names", "kept"), [(("look", "book"), 40), (("look", "look"), 20), ((), 20)])
def test_the_same_conversation_with_other_tools_is_another_one(tmp_path, names, kept):
    tools = [[{"name": name, "parameters": {"type": "object"}}] for name in names] or [[], []]
    rows = [{"messages": talk(i, 1), "tools": tools[n]} for i in range(20) for n in range(2)]
    report, train, held_out = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)
    assert len(train) + len(held_out) == kept and reasons(report).get("AGAIN", 0) == 40 - kept
    assert not {str(row["messages"]) for row in train} & {str(row["messages"]) for row in held_out}


def test_where_all_begin_alike_the_conversation_is_the_unit(tmp_path):
    rows = [{"messages": [*messages("시작", "네, 말씀하세요."), *talk(i, 1)]} for i in range(60)]
    assert len(prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)[2]) == 6


def test_an_answer_that_is_trained_on_behind_its_question_is_not_held_out(tmp_path):
    """The second question of a conversation stands alone in another row: their beginnings differ."""
    long = [{"messages": talk(i, 2)} for i in range(30)]
    single = [{"messages": talk(i, 2)[2:]} for i in range(15)]
    report, train, held_out = prepared(settings(write_jsonl(tmp_path / "a.jsonl", long + single)), tmp_path)
    asked = [{(q["content"], a["content"]) for row in side for q, a in batched(row["messages"])} for side in (train, held_out)]  # fmt: skip
    assert not asked[0] & asked[1] and all(asked)
    assert reasons(report)["COPY"] > 0


def test_pairs_of_one_prompt_go_to_one_side_and_single_ones_as_the_library_draws_them():
    from datasets import Dataset

    texts = [f"{i}번 Frage für Café?" for i in range(24)]
    forms = [str, str.upper, "  {}".format, partial(unicodedata.normalize, "NFD")]  # a Mac writes NFD
    several = [{"prompt": messages(form(text), "")[:1], "n": i} for i, text in enumerate(texts) for form in forms]
    parts = split_pairs(Dataset.from_list(several), 0.25, seed=1)
    assert len(parts["test"]) == 24 and not set(parts["train"]["n"]) & set(parts["test"]["n"])
    prompts = [messages(text, "")[:1] for text in texts]
    single = Dataset.from_list([{"prompt": prompt} for prompt in prompts])
    for name, part in single.train_test_split(test_size=0.25, seed=1).items():
        assert split_pairs(single, 0.25, seed=1)[name]["prompt"][:] == part["prompt"][:]


@pytest.mark.parametrize(("rows", "state"), [(1, "too few"), (9, "too few"), (10, "green")])
def test_too_few_held_out_is_a_verdict(rows, state):
    verdict = held_out_verdict(rows, CONFIG)
    assert verdict["verdict"] == state and verdict["ok"]


@pytest.mark.parametrize(
    ("more", "lengths", "steps"),
    [
        ({"max_steps": 1}, [50] * 500, 1),
        ({"max_steps": -1, "num_train_epochs": 0.1, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}, [50] * 60, 1),
        ({"max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "packing": True, "max_length": 100}, [50] * 20, 5),
        ({"max_steps": -1, "num_train_epochs": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}, [50] * 30, 30),
    ],
)  # fmt: skip
def test_a_training_of_few_steps_is_amber(more, lengths, steps):
    verdict = steps_verdict(lengths, RunConfig.load("tiny", **more))
    assert verdict["verdict"] == ("amber" if steps < 10 else "green") and f" {steps} " in verdict["measured"]


# --- nulls of a table


def weather(arguments, properties):
    call = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    turns = [
        {"role": "user", "content": "춘천 날씨?", "tool_calls": None},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "맑음", "tool_calls": None},
        {"role": "assistant", "content": "맑아요.", "tool_calls": None},
    ]
    schema = {"name": "get_weather", "parameters": {"type": "object", "properties": properties}}
    return {"messages": turns, "tools": [{"type": "function", "function": schema}]}


NULLS = ({"city": "춘천", "start": None, "at": {"x": 1, "y": None}}, {"city": {"type": "string", "default": None}, "start": None})  # fmt: skip


def learned(row, rows=()):
    done = as_messages(row, rows)
    arguments = next(turn["tool_calls"][0]["function"]["arguments"] for turn in done.messages if "tool_calls" in turn)
    return arguments, done.tools[0]["function"]["parameters"]["properties"], done.repairs


def test_nulls_that_a_table_put_into_tools_are_left_out_and_counted(tmp_path):
    from pyarrow.parquet import read_table

    as_parquet(tmp_path / "a.parquet", [weather(*NULLS)])
    for row in (weather(*NULLS), read_table(tmp_path / "a.parquet").to_pylist()[0]):
        arguments, properties, repairs = learned(row)
        assert arguments == {"city": "춘천", "at": {"x": 1}} and Repair.NULLS in repairs
        assert properties == {
            "city": {"type": "string", "default": None}
        }  # the author's own: there is no other default


@pytest.mark.parametrize("shape", [
    lambda row, value: {"instruction": row["Q"], "output": value},
    lambda row, value: {"prompt": row["Q"], "chosen": value, "rejected": value},
    lambda row, value: {"messages": [{"role": "user", "content": value}, {"role": "assistant", "content": value}]},
])  # fmt: skip
def test_an_empty_field_that_is_left_out_of_an_object_is_counted(tmp_path, shape):
    rows = [shape(row, {"도시": row["A"], "날짜": None if i % 2 else "월요일"}) for i, row in enumerate(questions(20))]
    as_parquet(tmp_path / "a.parquet", rows)
    repairs = {row["code"]: row["rows"] for row in prepared(settings(tmp_path / "a.parquet"), tmp_path)[0]["repairs"]}
    assert repairs["NULLS"] == 10


@pytest.mark.parametrize("spelled", ["tool_calls", "function_call"])
def test_a_table_of_one_tool_whose_calls_are_all_alike(tmp_path, spelled):
    """Nothing but the file tells that the nulls are the table's; written as JSON, an argument that is null here and has
    a value there does."""
    rows = []
    for i, row in enumerate(questions(20)):
        call = {"name": "look", "arguments": {"at": None, "n": i} if i % 2 else {"at": "물", "n": None}}
        called = [call] if spelled == "tool_calls" else call
        turns = [{"role": "assistant", "content": "", spelled: called}, {"role": "tool", "content": "네"}]
        rows.append({"messages": [*messages(row["Q"], "")[:1], *turns, *messages("", row["A"])[1:]]})
    paths = [as_parquet(tmp_path / "a.parquet", rows), write_jsonl(tmp_path / "a.jsonl", rows)]
    for path in (tmp_path / "a.parquet", paths[1]):
        _, train, held_out = prepared(settings(path), tmp_path)
        assert "null" not in json.dumps(train + held_out)


def test_the_author_s_own_nulls_stay():
    row = weather({"city": "춘천", "day": None}, {"city": {"enum": ["춘천", None]}, "day": {"type": "string", "default": None}})  # fmt: skip
    for turn in row["messages"]:
        turn.update({key: value for key, value in turn.items() if value is not None})
        if turn.get("tool_calls", ...) is None:
            del turn["tool_calls"]
    assert learned(row)[0] == {"city": "춘천", "day": None} and not learned(row)[2]
    assert learned(row)[1]["city"]["enum"] == ["춘천", None]


def test_a_default_of_a_table_goes_where_another_is_real():
    row = weather({"city": "춘천"}, {"city": {"type": "string", "default": None}, "n": {"type": "integer", "default": 3}, "x": None})  # fmt: skip
    assert learned(row)[1] == {"city": {"type": "string"}, "n": {"type": "integer", "default": 3}}


# --- columns whose names are meant otherwise


@pytest.mark.parametrize("column", ["review", "feedback", "rating", "label", "weight", "quality", "train", "history", "source", "functions"])  # fmt: skip
@pytest.mark.parametrize("alike", [True, False])
def test_a_text_under_the_name_of_a_mark_is_no_mark(tmp_path, column, alike):
    rows = [
        {"instruction": "좋은 말인가요?" if alike else row["Q"], column: f"{row['Q']} 그리고 {row['A']}", "output": "긍정" if i % 2 else "부정"}
        for i, row in enumerate(questions(60))
    ]  # fmt: skip
    report, train, held_out = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)
    assert len(train) + len(held_out) == 60
    assert all(("그리고" in row["messages"][0]["content"]) == alike for row in train)
    told = {field["field"]: field["read as"] for field in report["data"][0]["fields"]}[column]
    assert told == ("joined to the question" if alike else "not read") and column in report["data"][0]["notes"][0]


@pytest.mark.parametrize(("column", "values"), [("label", [True, False]), ("correct", ["true", "false"]), ("is_valid", [True, False]), ("deleted", [False, True])])  # fmt: skip
def test_a_mark_that_takes_away_whole_answers_is_red_and_named(tmp_path, column, values):
    rows = [{"question": row["Q"], "answer": ["맞아요", "틀려요"][i % 2], column: values[i % 2]} for i, row in enumerate(questions(60))]  # fmt: skip
    marks = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)[0]["marks"]
    assert marks["verdict"] == "red" and column in marks["measured"] and "틀려요" in marks["measured"]
    assert prepared(settings(write_jsonl(tmp_path / "b.jsonl", questions(60))), tmp_path)[0]["marks"]["ok"]


@pytest.mark.parametrize(
    ("column", "values", "rows"),
    [("split", ["train", "test"], 20), ("Split", ["train", "dev", "val"], 26), ("구분", ["학습", "검증"], 20), ("partition", ["train_sft", "test_sft"], 20),
     ("split", ["train"], 0), ("split", ["a", "test"], 0), ("split", [1, 2], 0), ("kind", ["train", "test"], 0)],
)  # fmt: skip
def test_rows_that_a_column_calls_another_part_are_said(tmp_path, column, values, rows):
    data = [{**row, column: values[i % len(values)]} for i, row in enumerate(questions(40))]
    notes = prepared(settings(write_jsonl(tmp_path / "a.jsonl", data)), tmp_path)[0]["data"][0]["notes"]
    assert [note.partition(" rows")[0] for note in notes] == [f"{column}: not read, so {rows}"] * (rows > 0)


@pytest.mark.parametrize(
    ("column", "values"), [("loss", [0.3, 1.7]), ("reasoning", [3, 4]), ("thinking", [True, False])]
)
def test_a_number_under_the_name_of_something_else_is_not_read(tmp_path, column, values):
    rows = [{**row, column: values[i % 2]} for i, row in enumerate(questions(20))]
    report, train, held_out = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)
    assert len(train) + len(held_out) == 20 and "reasoning_content" not in str(train)
    assert column in report["data"][0]["notes"][0]


ANSWERED = {
    "messages": lambda row, answer: {"messages": messages(row["Q"], answer)},
    "role tokens": lambda row, answer: {"text": f"<usr> {row['Q']}\n<bot> {answer}"},
    "true and false": lambda row, answer: {"question": row["Q"], "answer": answer == "예"},
    "numbers": lambda row, answer: {"instruction": row["Q"], "output": len(answer)},
}


@pytest.mark.parametrize("mark", [{"label": False}, {"weight": 0}, {"options": ["가"]}], ids=str)
@pytest.mark.parametrize("shape", ANSWERED)
def test_a_class_that_a_column_takes_away_is_red_in_every_format(tmp_path, shape, mark):
    rows = [{**ANSWERED[shape](row, "아니요" if i % 5 else "예"), **({} if i % 5 else mark)} for i, row in enumerate(questions(60))]  # fmt: skip
    report = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)[0]
    assert report["marks"]["verdict"] == "red" and next(iter(mark)) in report["marks"]["measured"]


def test_one_answer_that_is_bad_each_time_is_no_class(tmp_path):
    rows = questions(60) + [{"Q": f"{i}번?", "A": "몰라요", "label": False} for i in range(5)]
    assert prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)[0]["marks"]["ok"]


@pytest.mark.parametrize(
    "word",
    [
        "<noinput>",
        "N/A",
        "No input",
        "없음",
        "none",
        "(없음)",
        "Not applicable.",
        "--",
        "Input: <none>",
        "NA",
        "#N/A",
        "\\N",
        "<NA>",
        "None",
    ],
)
@pytest.mark.parametrize("column", ["input", "system", "reasoning"])
def test_a_word_for_nothing_is_nothing(word, column):
    done = as_messages({"instruction": "뭐?", column: word, "output": "네."})
    assert done.messages == messages("뭐?", "네.") and done.repairs == (Repair.NO_INPUT,)


@pytest.mark.parametrize("word", ["NA", "None", "\\N", "없음"])
def test_an_answer_that_is_such_a_word_stays(word):
    assert as_messages({"instruction": "뭐?", "output": word}).messages == messages("뭐?", word)


def test_an_input_that_only_looks_like_one_stays():
    for word in ("Na", "na", "\\n", "#1", "C#"):
        done = as_messages({"instruction": "뭐?", "input": word, "output": "네."})
        assert done.messages[0]["content"] == f"뭐?\n\n{word}" and not done.repairs


# --- leftovers of exports


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (Leftover.ESCAPES, ["순서예요.\\n1. 물", "이름\\t값", "첫\\r\\n둘", "a\\nB", "Hello.\\nthis is", "a\\n\\nthe end", "\\uc548\\ub155", 'say \\"hi\\"', "https:\\/\\/a.kr"]),
        (Leftover.ENTITIES, ["&lt;b&gt;", "Tom &amp; Jerry", "it&#39;s", "&#x27;", "<br>", "<p class='a'>", "</div>", "<br />", "<script>", "<!-- a -->", "&nbsp 가"]),
        (Leftover.INVISIBLE, ["달\u200b력", "끝\ufeff", "가\u3164나", "soft\u00adware", "a\u200db", "가\xa0나", "\u2800"]),
        (Leftover.CONTROL, ["\x1b[31m빨강", "가\b나", "x\x07", "a\x85b", "a\u2028b", "끝_x000D_\n다음"]),
        (Leftover.LOST, ["caf\ufffd", "\ue000", "\ufffc"]),
        (Leftover.ALPHABET, ["itâ€™s", "cafÃ©", "안녕".encode().decode("latin-1"), "ì•ˆë…•"]),
        (Leftover.PROGRAM, ["#N/A", "undefined", " NaN", "[object Object]", "None", "<NA>", "\\N"]),
        (Leftover.PRINTED, ["{'text': array(['울산0'], dtype=object), 'answer_start': array([3])}", "[array([1, 2])]", "array(['물'], dtype=object)", "[{'role': 'user', 'content': '물'}\n {'role': 'assistant', 'content': '불'}]"]),
        (Leftover.TEMPLATE, ["<|im_start|>user\n가", "[INST] 가 [/INST]", "<<SYS>>", "<start_of_turn>model", "<|eot_id|>", "<｜User｜>가", "### Response:\n가", "### 질문: 가", "[|user|]가", "<|reserved_special_token_3|>", "<s>가</s>", "[SEP]", "<extra_id_0>", "<human>: hi", "▁안녕", "ĠhelloĊ"]),
        (Leftover.SPEAKER, ["Human: hello", "Assistant: hi", "사용자: 안녕", "USER: hi", "질문: 물?", "Q: 물?", "ChatGPT: 네"]),
        (Leftover.NO_INPUT, ["요약해 줘\n\n<noinput>", "요약해 줘\n없음", "요약\nN/A.", "요약\n\n(없음)", "요약\n입력: 없음"]),
    ],
)  # fmt: skip
def test_what_an_export_leaves_is_found(kind, texts):
    assert all(kind in kinds(text, "user") for text in texts)


@pytest.mark.parametrize("text", ["$\\nabla f + \\text{x}$", "print('a\\n')\nprint('b')", "a & b; c", "3 < 4 > 2", "👩‍💻 일해요", "AT&T", "표: 값", "없음", "C:\\new\\test", "[1] 참고", "#1", '{"주소": "서울\\\\n강남", "말": "\\\\"네\\\\""}', "if a<b and c>d:", "List<String> x", "### Input validation", "naïve château São Où « ê »", "null 값", "none", "NA", "---", "np.array([1, 2])", "array([1, 2])", "{'a': 1}", "['물', '불']", '[{"role": "user"}]'])  # fmt: skip
def test_what_people_write_is_no_leftover(text):
    assert kinds(text, "user") == []


@pytest.mark.parametrize(("bad", "state"), [(1, "green"), (3, "amber")])
def test_leftovers_are_counted_with_an_example_and_amber_above_one_in_a_hundred(tmp_path, bad, state):
    rows = questions(100)
    for row in rows[:bad]:
        row["A"] += " &lt;b&gt;"
    report = prepared(settings(write_jsonl(tmp_path / "a.jsonl", rows)), tmp_path)[0]
    (found,) = report["leftovers"]
    assert (found["rows"], found["verdict"], report["left"]["verdict"]) == (bad, state, state)
    assert "&lt;" in found["example"]
    assert [row["rows"] for row in what_was_done(report) if row["what"] == "amber"] == [bad] * (state == "amber")


@pytest.mark.parametrize("said", [
    {"content": "달\u200b력"}, {"content": "", "reasoning_content": "달\u200b력"},
    {"content": "", "tool_calls": [{"type": "function", "function": {"name": "a", "arguments": {"q": [{"b": "달\u200b력"}]}}}]},
])  # fmt: skip
def test_leftovers_are_found_in_all_that_a_turn_says(said):
    leftovers = Leftovers()
    leftovers.look([{"role": "assistant", **said}])
    assert list(leftovers.counts) == [Leftover.INVISIBLE]


# --- thoughts of distilled data


@pytest.mark.parametrize(
    ("answer", "field", "reason"),
    [
        ("<think>\n물은 맑다. 그러니까", "", Reason.OPEN_THOUGHT),
        ("<think>물은 맑다", "물은 맑다", Reason.OPEN_THOUGHT),
        ("<think>\n물은 맑다.\n</think>\n\n", "", Reason.EMPTY),
        ("<think></think>", "물은 맑다.", Reason.EMPTY),
        ("<think>불은 뜨겁다.</think>맑아요.", "물은 맑다.", Reason.TWO_THOUGHTS),
    ],
)
def test_an_answer_whose_thought_is_broken_is_dropped(answer, field, reason):
    turn = {"role": "assistant", "content": answer, "reasoning": field}
    for row in (
        {"messages": [*messages("물?", "")[:1], turn]},
        {"question": "물?", "answer": answer, "reasoning": field},
    ):
        with pytest.raises(Unusable) as raised:
            as_messages(row)
        assert raised.value.reason is reason


@pytest.mark.parametrize(
    "answer", ["<think>\n물은  맑다.\n</think>\n\n맑아요.", "<think>\n\n</think>\n\n맑아요.", "맑아요."]
)
def test_a_thought_is_learned_once(answer):
    done = as_messages({"question": "물?", "answer": answer, "reasoning": "물은 맑다."})
    assert done.messages[1] == {"role": "assistant", "content": "맑아요.", "reasoning_content": "물은 맑다."}
    assert (Repair.THOUGHT_TWICE in done.repairs) == (answer != "맑아요.")
    alone = as_messages({"question": "물?", "answer": answer})
    assert alone.messages[1]["content"] == answer and not alone.repairs


# --- system turns that come later


LATER = {"role": "system", "content": "이제 영어로 답해."}


@pytest.mark.parametrize(
    "then", [messages("", "Yes")[1:], [{"role": "tool", "content": "3"}, *messages("", "Yes")[1:]]]
)
def test_a_system_turn_that_no_question_follows_is_not_lost(then):
    with pytest.raises(Unusable) as raised:
        as_messages({"messages": [*messages("물?", "불."), LATER, *then]})
    assert raised.value.reason is Reason.SYSTEM_LOST


@pytest.mark.parametrize(
    ("turns", "texts", "repair"),
    [
        ([*messages("물?", "불."), LATER], ["물?", "불."], Repair.TAIL_CUT),
        ([*messages("물?", "불."), LATER, *messages("왜?", "Hot.")], ["물?", "불.", "이제 영어로 답해.\n\n왜?", "Hot."], Repair.SYSTEM_LATER),
        ([*messages("물?", "")[:1], LATER, *messages("", "Fire.")[1:]], ["물?\n\n이제 영어로 답해.", "Fire."], Repair.SYSTEM_LATER),
    ],
)  # fmt: skip
def test_a_later_system_turn_goes_to_a_question_or_is_cut(turns, texts, repair):
    done = as_messages({"messages": turns})
    assert [turn["content"] for turn in done.messages] == texts and done.repairs == (repair,)


# --- shapes, names, parts, modes


PAIR = [{"from": "human", "value": "물?"}, {"from": "gpt", "value": "불."}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index.json", {str(i): row for i, row in enumerate(questions(20))}),
        ("ids.json", {f"faq-{i}": row for i, row in enumerate(questions(20))}),
        ("columns.json", {"Q": {str(i): row["Q"] for i, row in enumerate(questions(20))}, "A": {str(i): row["A"] for i, row in enumerate(questions(20))}}),
        ("lists.json", [[{"role": "user", "content": row["Q"]}, {"role": "assistant", "content": row["A"]}] for row in questions(20)]),
        ("split.json", {"columns": ["Q", "A"], "index": [*range(20)], "data": [[row["Q"], row["A"]] for row in questions(20)]}),
        ("one_key.json", {"conversations": [{"id": i, "messages": messages(row["Q"], row["A"])} for i, row in enumerate(questions(20))]}),
        ("one_list.json", {"messages": [messages(row["Q"], row["A"]) for row in questions(20)]}),
        ("version.json", {"version": "1", **{f"id{i}": row for i, row in enumerate(questions(20))}}),
        ("ids_of_lists.json", {f"t{i}": messages(row["Q"], row["A"]) for i, row in enumerate(questions(20))}),
    ],
)  # fmt: skip
def test_rows_in_any_shape_are_rows(tmp_path, name, value):
    (tmp_path / name).write_text(json.dumps(value, ensure_ascii=False))
    _, train, held_out = prepared(settings(tmp_path / name), tmp_path)
    assert {row["messages"][1]["content"] for row in train + held_out} == {row["A"] for row in questions(20)}


@pytest.mark.parametrize(
    ("before", "delimiter"), [("sep=;\n", ";"), ("sep=,\r\n", ","), ("\n\n", ","), ("\ufeff\ufeff", ","), ("", "|")]
)
def test_a_table_begins_at_its_header(tmp_path, before, delimiter):
    lines = [delimiter.join(row) for row in (("Q\0", "A"), *((row["Q"], row["A"]) for row in questions(20)))]
    (tmp_path / "a.csv").write_text(before + "\n".join(lines))
    _, train, held_out = prepared(settings(tmp_path / "a.csv"), tmp_path)
    assert len(train) + len(held_out) == 20


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "a.parquet cannot be read as Parquet"),
        ("cut.parquet", None, "cut.parquet cannot be read as Parquet"),
        ("a.json", b"[" * 100_000, "a.json is not valid JSON"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl is not valid JSON"),
        ("a.json", b"9" * 5000, "None of the first rows can be read"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(tmp_path, name, content, told):
    if content is None:
        as_parquet(tmp_path / name, questions(20))
        content = (tmp_path / name).read_bytes()[:-20]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told):
        prepared(settings(tmp_path / name), tmp_path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt"])
@pytest.mark.parametrize("kind", ["gzip", "Excel", "Parquet"])
def test_what_is_no_text_is_named_by_its_first_bytes(tmp_path, name, kind):
    path = write_jsonl(tmp_path / name, questions(20))
    if kind == "gzip":
        path.write_bytes(gzip.compress(path.read_bytes()))
    elif kind == "Parquet":
        as_parquet(path, questions(20))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("xl/sheet1.xml", "".join(row["A"] for row in questions(20)))
    with pytest.raises(ValueError, match=f"{name} is no text but {kind}.*unpack or export"):
        prepared(settings(path), tmp_path)


def test_a_list_of_turns_in_each_line_is_a_conversation(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(messages(row["Q"], row["A"])) + "\n" for row in questions(20)))
    assert len(prepared(settings(path), tmp_path)[1]) == 18


def test_a_sentence_names_a_few_columns_only(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{f"{i}": 1 for i in range(5000)}]))
    with pytest.raises(ValueError, match="and 4980 more"):
        prepared(settings(tmp_path / "a.json"), tmp_path)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_of_a_mac_is_found(tmp_path, forms):
    there, typed = (unicodedata.normalize(form, "상담_기록") for form in forms)
    folder = tmp_path / there
    folder.mkdir()
    write_jsonl(folder / f"{there}.jsonl", questions(20))
    assert len(prepared(settings(tmp_path / typed / f"{typed}.jsonl"), tmp_path)[1]) == 18
    assert len(prepared(settings(tmp_path, dataset_config=typed), tmp_path)[1]) == 18
    assert local_path(str(tmp_path / "없는_기록.jsonl")) is None


def test_headings_and_roles_of_a_mac_are_known():
    named = {"질문": "물?", "답변\u200b": "불.", "문맥\u00a0": "글"}
    apart = {unicodedata.normalize("NFD", name): value for name, value in named.items()}
    assert [turn["content"] for turn in as_messages(apart).messages] == ["물?\n\n글", "불."]


def test_a_link_keeps_its_name(tmp_path):
    blob = write_jsonl(tmp_path / "blob", questions(20))
    raw = write_jsonl(tmp_path / "raw.jsonl", questions(20))
    for name, target in (("train.jsonl", blob), ("latest", raw), ("x.csv", raw)):
        (tmp_path / name).symlink_to(target)
        assert len(prepared(settings(tmp_path / name), tmp_path)[1]) == 18


def test_a_folder_is_read_through_its_links_and_a_link_to_nowhere_is_said(tmp_path):
    (tmp_path / "store").mkdir()
    write_jsonl(tmp_path / "store" / "train.jsonl", questions(20))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "data").symlink_to(tmp_path / "store")
    (folder / "again").symlink_to(folder)
    (folder / "train-2.jsonl").symlink_to(tmp_path / "gone")
    report, train, _ = prepared(settings(folder), tmp_path)
    assert len(train) == 18 and "leads nowhere): train-2.jsonl" in report["data"][0]["notes"][0]
    with pytest.raises(FileNotFoundError, match="is a link that leads nowhere: .*gone is not there"):
        prepared(settings(folder / "train-2.jsonl"), tmp_path)


README = """---
configs:
- config_name: default
  data_files:
  - {split: train_sft, path: data/train_sft-*}
  - {split: test_sft, path: data/test_sft-*}
  - {split: train_gen, path: data/train_gen-*}
---
"""


@pytest.mark.parametrize("readme", [README, "# nothing"])
@pytest.mark.parametrize("end", ["-00000-of-00001", ""])
def test_parts_are_those_that_the_hub_names(tmp_path, readme, end):
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(readme if end else readme.replace("-*", ".*"))
    for number, part in enumerate(("train_sft", "test_sft", "train_gen")):
        as_parquet(folder / "data" / f"{part}{end}.parquet", questions(20, start=100 * number))
    assert len(prepared(settings(folder, dataset_split="train_sft"), tmp_path)[1]) == 18
    assert len(prepared(settings(folder, dataset_split="test"), tmp_path)[1]) == 18
    with pytest.raises(ValueError, match="train_gen or train_sft"):
        prepared(settings(folder), tmp_path)


FILES = {
    "a file of no part beside the parts": ("train.jsonl", "holdout.jsonl"),
    "a folder of no part": ("train/a.jsonl", "metadata/a.jsonl"),
    "Korean": ("훈련_데이터.jsonl", "검증.jsonl", "시험셋.jsonl"),
    "with a year": ("train2017.jsonl", "val2017.jsonl"),
    "in one word": ("trainData.jsonl", "testdata.jsonl"),
    "of a Mac": (unicodedata.normalize("NFD", "학습셋.jsonl"), unicodedata.normalize("NFD", "평가셋.jsonl")),
}
HEAD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: %s}\n  - {split: test, path: %s}\n---\n"
CARDS = {
    "at the root alone": (HEAD % ("a.jsonl", "b.jsonl"), ("a.jsonl", "old/a.jsonl", "b.jsonl")),
    "two stars": (HEAD % ("data/**/a*", "./b*"), ("data/a.jsonl", "b.jsonl")),
    "letters taken apart": (HEAD % ("'학습*'", "'시험*'"), (unicodedata.normalize("NFD", "학습.jsonl"), "b.jsonl")),
    "no name": ("---\nconfigs:\n- data_files:\n    train: a.jsonl\n    test: b.jsonl\n---\n", ("a.jsonl", "b.jsonl")),
    "a folder": ("---\nconfigs:\n- {config_name: ko, data_dir: ko, default: true}\n- {config_name: en, data_dir: en}\n---\n", ("ko/train.jsonl", "en/train.jsonl")),
    "a mark at the head": ("\ufeff" + HEAD % ("a.jsonl", "b.jsonl"), ("a.jsonl", "b.jsonl")),
    "no list": ("---\nconfigs: {a: b}\n---\n", ("a.jsonl",)),
    "no object": ("---\n- a\n---\n", ("a.jsonl",)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("card", "files"), [*(("", files) for files in FILES.values()), *CARDS.values()], ids=[*FILES, *CARDS]
)
def test_of_the_files_the_first_alone_is_the_training_part(tmp_path, card, files):
    for number, name in enumerate(files):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(tmp_path / "set" / name, questions(20, start=100 * number))
    (tmp_path / "set" / "README.md").write_text(card)
    _, train, held_out = prepared(settings(tmp_path / "set"), tmp_path)
    assert {row["messages"][0]["content"] for row in train + held_out} == {row["Q"] for row in questions(20)}


def test_pieces_of_one_part_are_read_together(tmp_path):
    (tmp_path / "set").mkdir()
    for number, name in enumerate(("train_1", "train-part2", "train_b", "train-00003-of-00009")):
        write_jsonl(tmp_path / "set" / f"{name}.jsonl", questions(10, start=100 * number))
    assert len(prepared(settings(tmp_path / "set"), tmp_path)[1]) == 36


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_have_the_mode_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_atomic(tmp_path / "new" / "a.json", "{}")
        weights = tmp_path / "new" / "model.safetensors"
        weights.touch(0o600)
        give_usual_modes(tmp_path / "new")
    finally:
        os.umask(before)
    for path in (tmp_path / "new" / "a.json", weights):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", questions(5))
    path.chmod(0o600)
    code = "import os; os.setgroups([]); from helpers.files import folder_digest; from pathlib import Path; import sys; os.setuid(4321); folder_digest(Path(sys.argv[1]))"
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents[:3]:
        os.chmod(parent, 0o755)
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert "PermissionError" in done.stderr and "cannot be read by this user" in done.stderr


@pytest.mark.parametrize("place", [{"name": "\ud83d"}, {"tool_call_id": "\ud83d"}, {"content": "\ud83d"}])
def test_half_a_character_costs_its_row(tmp_path, place):
    rows = []
    for i, row in enumerate(questions(20)):
        call = {"role": "assistant", "content": "", "tool_calls": [{"name": "look", "arguments": {}}]}
        tool = {"role": "tool", "name": "look", "content": "네", **(place if i == 3 else {})}
        asked, answered = messages(row["Q"], row["A"])
        rows.append({"messages": [asked, call, tool, answered]})
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report, train, held_out = prepared(settings(path), tmp_path)
    assert reasons(report) == {"UNICODE": 1} and len(train) + len(held_out) == 19


def test_a_refusal_has_its_reason_and_value():
    with pytest.raises(Unusable) as raised:
        as_messages({"messages": [{"role": "narrator", "content": "물"}]})
    assert raised.value.reason is Reason.ROLE and raised.value.values == {"value": "narrator"}
