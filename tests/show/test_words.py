"""Finished sentences are translated where they are shown; a catalogue has no key that the code does not say."""

import ast
import re

import pytest

from helpers.settings import PROJECT_ROOT
from helpers.show import words as language
from helpers.show.tables import Table
from helpers.show.words import told


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    def use(text: str) -> None:
        (tmp_path / "xx.po").write_text('msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n' + text)
        language._catalogue.cache_clear()

    monkeypatch.setattr(language, "FOLDER", tmp_path)
    monkeypatch.setenv("QLORA_LANG", "xx")
    yield use
    language._catalogue.cache_clear()


def test_a_sentence_is_known_by_what_stands_around_its_values(catalogue):
    catalogue(
        'msgid "{0} of {1} rows were dropped"\nmsgstr "{1}개 가운데 {0}개를 뺐습니다"\n\nmsgid "rows"\nmsgstr "행"\n'
    )
    assert told("3 of 40 rows were dropped") == "40개 가운데 3개를 뺐습니다"
    assert told("3 of 40 rows were dropped!") == "3 of 40 rows were dropped!"
    assert told("3 of  rows were dropped") == "개 가운데 3개를 뺐습니다"  # what is filled in may be empty
    assert told("rows") == "행" and told("rows and rows") == "rows and rows"
    assert told("one\n3 of 40 rows were dropped\n") == "one\n40개 가운데 3개를 뺐습니다\n"


def test_sentences_that_follow_each_other_are_looked_up_one_by_one(catalogue):
    catalogue('msgid "All is well."\nmsgstr "다 좋습니다."\n\nmsgid "See step {0}."\nmsgstr "{0}번째 걸음을 보세요."\n')
    assert (
        told("Nobody knows this. All is well. See step 1.5.")
        == "Nobody knows this. 다 좋습니다. 1.5번째 걸음을 보세요."
    )


def test_values_are_translated_where_they_are_sentences_too(catalogue):
    catalogue('msgid "labels are {0}"\nmsgstr "라벨: {0}"\n\nmsgid "green"\nmsgstr "초록"\n')
    assert told("labels are green") == "라벨: 초록"
    assert told("labels are {weird}") == "라벨: {weird}"


def test_english_is_left_alone(monkeypatch):
    monkeypatch.delenv("QLORA_LANG", raising=False)
    assert told("ok") == "ok"


def test_a_table_speaks_the_language_and_its_rows_keep_their_keys(monkeypatch):
    monkeypatch.setenv("QLORA_LANG", "ko")
    table = Table([{"check": True}, {"check": "a value of the user"}])
    assert "정상" in table._repr_html_() and "정상" in repr(table) and "a value of the user" in repr(table)
    assert table.rows[0] == {"check": True}


def test_the_words_of_a_chart_follow_the_language_and_its_numbers_stay(catalogue, monkeypatch):
    from matplotlib.figure import Figure

    def words() -> list[str]:
        figure = Figure()
        axes = figure.subplots()
        axes.barh([0, 1], [3, 4], label="loss")
        axes.set_yticks([0, 1], ["base", "of the user"])
        axes.set(title="loss", xlabel="{0} of step 3")
        axes.legend()
        language.tell_figure(figure)
        figure.canvas.draw()
        legend = axes.get_legend().get_texts()
        return [text.get_text() for text in (axes.title, axes.xaxis.label, *legend, *axes.get_yticklabels())]

    catalogue('msgid "loss"\nmsgstr "손실"\n\nmsgid "base"\nmsgstr "베이스"\n')
    assert words() == ["손실", "{0} of step 3", "손실", "베이스", "of the user"]
    monkeypatch.setenv("QLORA_LANG", "")
    assert words() == ["loss", "{0} of step 3", "loss", "base", "of the user"]


def sentences(*patterns: str) -> set[str]:
    """Every string of the code in the files of `patterns`, what is filled in as {0}, {1} ..."""
    found = set()
    for path in (path for pattern in patterns for path in PROJECT_ROOT.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            import nbformat

            cells = nbformat.reads(text, 4).cells
            text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts, count = [], 0
                for value in node.values:
                    if isinstance(value, ast.Constant):
                        parts.append(value.value)
                    else:
                        parts.append(f"{{{count}}}")
                        count += 1
                found.add("".join(parts))
    return found


def test_every_key_of_the_catalogues_is_said_by_the_code():
    from babel.messages.pofile import read_po

    said = {sentence.strip() for sentence in sentences("helpers/**/*.py", "notebooks/**/*.ipynb")}
    for path in language.FOLDER.glob("*.po"):
        with path.open("rb") as file:
            entries = [message for message in read_po(file) if message.id]
        gone = [message.id for message in entries if not any(message.id.strip() in sentence for sentence in said)]
        assert not gone, f"{path.name}: the code does not say these any more: {gone[:5]}"
        for message in entries:
            placeholders = re.findall(r"\{\d\}", message.id)
            assert sorted(placeholders) == sorted(re.findall(r"\{\d\}", message.string)), message.id
            assert not message.string or re.search("[가-힣]", message.string) or path.stem != "ko", message.id


def test_a_kernel_prints_and_fails_in_the_language(tmp_path):
    """In a real kernel: printed lines pass the hook of its stdout, errors its handler."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    cells = [
        'import os\nos.environ["QLORA_LANG"] = "ko"\nimport helpers\nprint("ok")',
        'raise ValueError("ok")',
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.raises(CellExecutionError, match="정상"):
        NotebookClient(notebook, kernel_name="qlora", timeout=60).execute()
    assert notebook.cells[0].outputs[0].text == "정상\n"


def test_charts_write_hangul_with_the_font_of_the_package():
    """No warning of a missing glyph, on a machine that need not have a Korean font."""
    pytest.importorskip("koreanize_matplotlib", reason="installed by --test and --korean")
    import warnings

    import matplotlib.pyplot as plt

    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert language.write_hangul()
        figure, axes = plt.subplots()
        axes.set_title("평가용으로 떼어 둔 대화의 손실 −1")
        figure.canvas.draw()
        assert plt.rcParams["font.family"][0] == "NanumGothic"
        plt.close(figure)
