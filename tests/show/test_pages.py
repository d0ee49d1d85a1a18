"""Templates and charts: what came from data is escaped, what is missing is an error, one style for all charts."""

import pytest
from jinja2 import UndefinedError

from helpers.show.pages import document, render_page
from helpers.show.pictures import INK, PALETTE, Picture, chart

EVIL = '<script>alert("x")</script>'


def test_a_title_is_escaped_and_a_missing_value_is_an_error():
    page = document(EVIL, "<main>ours</main>")
    assert "<script>" not in page and "<main>ours</main>" in page and '<html lang="en">' in page
    with pytest.raises(UndefinedError, match="title"):
        render_page("page.html.j2")


def test_every_chart_has_the_palette_and_the_page_s_own_background():
    figure, (left, right) = chart(6, 2, columns=2)
    lines = [left.plot([0, 1], [0, i])[0].get_color() for i in range(3)]
    assert lines == PALETTE[:3] and left.text(0, 0, "word").get_color() == INK == right.title.get_color()
    assert not left.spines["top"].get_visible() and figure.get_facecolor()[3] == 0
    assert Picture(figure, EVIL).__html__().count("<") == 1
