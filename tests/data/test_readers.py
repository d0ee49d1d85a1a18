"""What a file or a folder holds is read as it is meant; whatever was guessed or left out is said."""

import json

import pytest

from helpers.data.sources import read_rows
from tests.data.test_prepare import prepared, settings, write_jsonl

PAIRS = [(f"{i}번 질문은 무엇인가요? {chr(0xAC00 + 97 * i)}", f"{i}번 답은 {chr(0xAC00 + 131 * i)}입니다.") for i in range(20)]  # fmt: skip
ROWS = [{"Q": q, "A": a} for q, a in PAIRS]
TALKS = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in PAIRS]


def read(path, folder, **more):
    """Conversations of train and eval, and the notes of every data set."""
    report, train, held_out = prepared(settings(path, **more), folder)
    notes = " ".join(note for data in report["data"] for note in data["notes"])
    return [row["messages"] for row in train + held_out], notes


def table(separator=",", pairs=PAIRS):
    return "\n".join(separator.join(row) for row in [("Q", "A"), *pairs]) + "\n"


def jsonl(path, mark="", asked=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_jsonl(path, [{"Q": q + asked, "A": mark + a} for q, a in PAIRS])


@pytest.mark.parametrize(("encoding", "told"), [("utf-8", ""), ("utf-16", "UTF-16"), ("cp949", "CP949")])
def test_character_sets_are_recognised_and_said(tmp_path, encoding, told):
    (tmp_path / "a.csv").write_text(table(), encoding=encoding)
    conversations, notes = read(tmp_path / "a.csv", tmp_path)
    assert {messages[0]["content"] for messages in conversations} == {q for q, _ in PAIRS}
    assert told in notes and bool(told) == bool(notes)


@pytest.mark.parametrize("first", [{"id": range(20)}, {"input": [None, *"가나" * 9, "다"]}, {}])
@pytest.mark.parametrize("rows", [ROWS, TALKS], ids=["texts", "turns"])
def test_columns_in_place_of_rows_are_read_whatever_stands_first(tmp_path, first, rows):
    columns = {name: [*values] for name, values in first.items()} | {
        name: [row[name] for row in rows] for name in rows[0]
    }
    columns |= {"source": ["s"] * 20}
    for whole in (columns, {name: dict(enumerate(values)) for name, values in columns.items()}):
        (tmp_path / "a.json").write_text(json.dumps(whole))
        conversations, notes = read(tmp_path / "a.json", tmp_path)
        assert len(conversations) == 20 and "columns instead of rows" in notes


def test_empty_rows_of_a_table_program_are_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text(table() + ",\n , \n" * 50)
    report, train, held_out = prepared(settings(tmp_path / "a.csv"), tmp_path)
    assert report["rows"]["read"] == len(train + held_out) == 20 and not report["drops"]


def test_two_columns_of_one_name_in_a_parquet_file_are_refused(tmp_path):
    import pyarrow
    from pyarrow.parquet import write_table

    columns = [*map(list, zip(*PAIRS, strict=True)), ["x"] * 20]
    write_table(pyarrow.Table.from_arrays([*map(pyarrow.array, columns)], ["Q", "A", "A"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="two columns of the name 'A'"):
        prepared(settings(tmp_path / "a.parquet"), tmp_path)


def test_a_quotation_mark_in_tab_separated_text_is_a_letter(tmp_path):
    pairs = [('"빨리" 오세요', "네, 곧 갑니다"), ('"', "따옴표입니다"), *PAIRS]
    (tmp_path / "a.tsv").write_text(table("\t", pairs))
    conversations, _ = read(tmp_path / "a.tsv", tmp_path)
    assert len(conversations) == len(pairs)
    assert '"빨리" 오세요' in {messages[0]["content"] for messages in conversations}


@pytest.mark.parametrize("comma", [",", ";"])
@pytest.mark.parametrize("head", ["Q{} A", "Q{}A", '"Q"{} "A"'])
def test_a_quotation_mark_behind_a_blank_quotes(tmp_path, comma, head):
    pairs = [(q, f'{a}{comma} ""네""') for q, a in PAIRS]
    rows = "".join(f'"{q}"{comma} "{a}"\n' for q, a in pairs)
    (tmp_path / "a.csv").write_text(f"{head.format(comma)}\n{rows}")
    conversations, _ = read(tmp_path / "a.csv", tmp_path)
    assert {messages[1]["content"] for messages in conversations} == {a.replace('""', '"') for _, a in pairs}


@pytest.mark.parametrize("head", ["Q, A", "Q,A"])
@pytest.mark.parametrize("said", ['"빨리" 오세요', '"빨리"'])
def test_a_quotation_mark_behind_a_blank_is_a_letter_where_it_does_not_quote(tmp_path, head, said):
    rows = "".join(f"{q}, {a}\n" for q, a in PAIRS)
    (tmp_path / "a.csv").write_text(f"{head}\n{rows}뭐래요?, {said}\n")
    conversations, _ = read(tmp_path / "a.csv", tmp_path)
    letter = head == "Q,A" or " " in said
    assert (said if letter else "빨리") in {messages[1]["content"] for messages in conversations}


def test_fields_over_several_lines_are_counted_and_an_open_quotation_mark_is_named(tmp_path):
    (tmp_path / "a.csv").write_text(table(pairs=[*PAIRS, ("긴 답을 주세요", '"첫 줄\n둘째 줄"')]))
    conversations, notes = read(tmp_path / "a.csv", tmp_path)
    assert len(conversations) == 21 and "1" in notes and "line" in notes
    (tmp_path / "b.csv").write_text(table(pairs=[*PAIRS[:10], ("열린 따옴표", '"끝이 없다'), *PAIRS[10:]]))
    with pytest.raises(ValueError, match="b.csv.*line 12"):
        read(tmp_path / "b.csv", tmp_path)


def test_hidden_files_and_the_test_part_of_a_folder_are_left_and_named(tmp_path):
    jsonl(tmp_path / "set" / "train.jsonl")
    jsonl(tmp_path / "set" / "test.jsonl", "TEST ")
    jsonl(tmp_path / "set" / ".ipynb_checkpoints" / "train-checkpoint.jsonl", "OLD ")
    jsonl(tmp_path / "set" / "._train.jsonl", "MAC ")
    conversations, notes = read(tmp_path / "set", tmp_path)
    assert len(conversations) == 20 and not any(m[1]["content"][:3] in ("TES", "OLD", "MAC") for m in conversations)
    assert all(name in notes for name in ("test.jsonl", "train-checkpoint.jsonl", "._train.jsonl"))


def test_a_folder_of_save_to_disk_is_read(tmp_path):
    from datasets import Dataset

    Dataset.from_list([{"Q": q, "A": a} for q, a in PAIRS]).save_to_disk(tmp_path / "set")
    assert len(read(tmp_path / "set", tmp_path)[0]) == 20


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", "", "has no row to read.*is empty"),
        ("a.csv", "Q,A\n", "has a header .Q, A. and no row"),
        ("a.csv", "Q,A,A\n1,2,3\n", "two columns of the name 'A'"),
        ("a.jsonl", '{"Q": "a", "A": "b"},\n{"Q": "c", "A": "d"},\n', "None of the first rows can be read .not a JSON object"),
        ("a.json", '{"Q": "a",\n"A": "b"}\n{"Q": "c",\n"A": "d"}', 'write one object in each line, .*first row: \'{"Q": "a",\''),
        ("a.json", '[["a", "b"], ["c", "d"]]', "None of the first rows can be read"),
        ("a.json", '[{"Q": "a", "A": "b", "A": "c"}]', "the field A stands twice in one object"),
        ("a.json", '{"messages": [{"role": "user", "content": "a"}]}', "one conversation|no row|no conversation"),
    ],
)  # fmt: skip
def test_a_file_without_a_use_gets_its_true_sentence(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=told):
        read(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
@pytest.mark.parametrize("ending", [".jsonl", ".tsv"])
@pytest.mark.parametrize("between", ["", "\n"])
def test_rows_under_the_name_of_a_text_are_told_their_ending(tmp_path, name, ending, between):
    lines = (
        [json.dumps({"Q": q, "A": a}) + "\n" for q, a in PAIRS] if ending == ".jsonl" else table("\t").splitlines(True)
    )
    (tmp_path / name).write_text(between.join(lines))
    with pytest.raises(ValueError, match=f"{name} holds rows and no running text: give it the ending {ending}."):
        read(tmp_path / name, tmp_path)


@pytest.mark.parametrize("mark", ["\t{}", "{{{}", "- {}\t물", "{}"])
def test_a_text_with_tabs_or_braces_is_a_text(tmp_path, mark):
    lines = [f"{mark.format(q)}\n{a}\n" for q, a in PAIRS]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    assert list(read_rows(settings(tmp_path / "a.txt"), notes := [])) and "is one text" in notes[0]


def test_several_data_sets_with_weights_are_sources_of_their_own(tmp_path):
    names = f"{jsonl(tmp_path / 'one.jsonl')}, {jsonl(tmp_path / 'two.jsonl', '다른 ', ' 다른 자료')}:2"
    report, train, _ = prepared(settings(names, run_name="both"), tmp_path)
    texts = [row["messages"][0]["content"] for row in train]
    once, twice = ({t for t in texts if ("다른 자료" in t) == other} for other in (False, True))
    assert all(texts.count(text) == 1 for text in once) and all(texts.count(text) == 2 for text in twice)
    assert len(report["sources"]) == 2


@pytest.mark.parametrize("weight", ["0", "-1", "101", "x"])
def test_a_weight_that_is_none_is_refused(tmp_path, weight):
    jsonl(tmp_path / "one.jsonl")
    with pytest.raises((ValueError, FileNotFoundError), match="one.jsonl"):
        read(f"{tmp_path}/one.jsonl:{weight}", tmp_path, run_name="bad")


@pytest.mark.parametrize(("broken", "quotes"), [(0, True), (1, True), (2, False)])
def test_a_few_broken_rows_of_a_tab_separated_file_leave_its_quotation_marks_alone(tmp_path, broken, quotes):
    rows = "".join(f'{q}\t"그는 ""{a}"" 하고 말했어요."\n' for q, a in PAIRS) + "하나\t둘\t셋\n" * broken
    (tmp_path / "a.tsv").write_text(f"Q\tA\n{rows}")
    conversations, notes = read(tmp_path / "a.tsv", tmp_path)
    answer = '그는 "{}" 하고 말했어요.' if quotes else '"그는 ""{}"" 하고 말했어요."'
    assert {messages[1]["content"] for messages in conversations} == {answer.format(a) for _, a in PAIRS}
    assert ("20 fields stand between quotation marks" in notes) != quotes


def test_quotation_marks_that_are_learned_as_letters_are_said(tmp_path):
    (tmp_path / "a.csv").write_text(table(", ", [(q, f'"{a}"') for q, a in PAIRS[:9]] + [("뭐?", '"빨리" 오세요')]))
    assert "a.csv: 9 fields stand between" in read(tmp_path / "a.csv", tmp_path)[1]
    (tmp_path / "a.csv").write_text(table(pairs=[(q, f'"""{a}"""') for q, a in PAIRS]))
    assert not read(tmp_path / "a.csv", tmp_path)[1]


RECIPES = [
    "재료는 이래요.\n밀가루, 3g\n설탕, 50g\n소금, 3g\n잘 섞으세요.",
    "재료는 이래요.\n밀가루, 3g\n설탕, 50g\n소금, 3g\n잘 섞고, 기다리세요.",
    "도시,인구\n서울,900\n부산,300\n대구,200\n인천,300",
    "표예요.\n서울,900\n부산,300\n대구,200\n인천,300",
    "물, 불\n바람, 흙\n나무, 쇠\n해, 달\n끝",
]


@pytest.mark.parametrize("answer", RECIPES)
def test_an_answer_of_lines_with_commas_is_kept(tmp_path, answer):
    (tmp_path / "a.csv").write_text(table(pairs=[*PAIRS, ("재료는 무엇인가요?", f'"{answer}"')]))
    conversations, notes = read(tmp_path / "a.csv", tmp_path)
    assert answer in {messages[1]["content"] for messages in conversations} and "over several lines" in notes


def test_a_setting_that_says_nothing_about_one_file_is_told(tmp_path):
    file = tmp_path / "talks.csv"
    file.write_text("question,answer\na,b\nc,d\n", encoding="utf-8")
    notes = []
    assert len(list(read_rows(settings(file, dataset_split="test"), notes))) == 2
    assert "dataset_split='test' says nothing about a single file: all of talks.csv is read." in notes
    list(read_rows(settings(file), quiet := []))
    assert not any("dataset_split" in note for note in quiet)
    with pytest.raises(ValueError, match="dataset_config='ko' names a subset .* but talks.csv is one file: leave it"):
        list(read_rows(settings(file, dataset_config="ko")))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", table(pairs=[*PAIRS[:12], ('"열린 따옴표', "끝이 없다")]) + table(pairs=PAIRS[12:18]) + '닫힌 따옴표",네\n', "a quotation mark that swallowed rows (a.csv, line 14: 7 rows)"),
        ("a.csv", table(pairs=[*PAIRS[:12], ("열린 따옴표", '"끝이 없다')]) + table(pairs=PAIRS[12:18]) + '닫힌 따옴표,네"\n', "a quotation mark that swallowed rows (a.csv, line 14: 7 rows)"),
        ("a.csv", table(pairs=[*PAIRS, ("쉼표가, 있는 질문", "네")]), "not a JSON object, or not one value per column"),
        ("a.jsonl", "".join(json.dumps({"Q": q, "A": a}) + "\n" for q, a in PAIRS) + '{"Q": "가?", "A": "나", "A": "다"}\n', "the field A stands twice in one object"),
        ("a.json", json.dumps([{"Q": q, "A": a} for q, a in PAIRS])[:-1] + ', {"Q": "가?", "A": "나", "A": "다"}]', "the field A stands twice in one object"),
        ("a.jsonl", "".join(json.dumps({"Q": q, "A": a}) + "\n" for q, a in PAIRS) + '{"Q": "가?", "A":\n', "not a JSON object, or not one value per column"),
        ("a.jsonl", "".join(json.dumps({"Q": q, "A": a}) + "\n" for q, a in PAIRS) + '{"Q": "가?", "A": ' + "9" * 5000 + "}\n", "not a JSON object, or not one value per column"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_dropped_with_its_own_reason(tmp_path, name, text, why):
    (tmp_path / name).write_text(text)
    report = prepared(settings(tmp_path / name, max_length=512), tmp_path)[0]
    assert why in json.dumps(report, ensure_ascii=False) and report["rows"]["dropped"] == 1
