"""Templates and charts: what came from data is escaped, what is missing is an error, one style for all charts."""

import pytest
from jinja2 import UndefinedError

from helpers.show.pages import render_page
from helpers.show.pictures import INK, PALETTE, Picture, chart, curve
from helpers.show.tables import Table

EVIL = '<script>alert("x")</script>'


def test_whatever_a_template_fills_in_is_escaped_and_a_missing_value_is_an_error():
    """Numbers too: they come from files."""
    page = render_page("vote.html.j2", number=EVIL, total=EVIL, asked=EVIL, left=EVIL, right=EVIL)
    assert "<script>" not in page and page.count("&lt;script&gt;") == 5
    with pytest.raises(UndefinedError, match="title"):
        render_page("page.html.j2")


def test_a_table_is_html_of_its_own_and_a_curve_takes_numbers_only():
    assert Table([{EVIL: EVIL}], foreign=(EVIL,)).__html__().count("<script>") == 0
    for bad in ({"step": EVIL, "loss": 1.0}, {"step": 1, "loss": EVIL}):
        with pytest.raises(ValueError):
            curve([bad])


def test_every_chart_has_the_palette_and_the_page_s_own_background():
    figure, (left, right) = chart(6, 2, columns=2)
    lines = [left.plot([0, 1], [0, i])[0].get_color() for i in range(3)]
    assert lines == PALETTE[:3] and left.text(0, 0, "word").get_color() == INK == right.title.get_color()
    assert not left.spines["top"].get_visible() and figure.get_facecolor()[3] == 0
    assert Picture(figure, EVIL).__html__().count("<") == 1
