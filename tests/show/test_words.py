"""Words are translated where they are made."""

import ast

import pytest

from helpers.settings import PROJECT_ROOT
from helpers.show import words as language
from helpers.show.tables import Table


def test_a_table_speaks_the_language_and_its_rows_keep_their_keys(monkeypatch):
    monkeypatch.setenv("QLORA_LANG", "ko")
    table = Table([{"check": True}, {"check": "a value of the user"}])
    assert "정상" in table._repr_html_() and "정상" in repr(table) and "a value of the user" in repr(table)
    assert table.rows[0] == {"check": True}


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
