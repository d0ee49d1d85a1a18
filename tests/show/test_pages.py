"""Templates and charts: what came from data is escaped, what is missing is an error, one style for all charts."""

import re

import pytest
from jinja2 import UndefinedError

from helpers.paths import PROJECT_ROOT
from helpers.plan.charts import COLOURS
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


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, of two colours as #rrggbb."""

    def luminance(colour):
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("paper", ("#ffffff", "#111111"), ids=("light", "dark"))  # of JupyterLab
def test_every_line_and_every_area_is_seen_in_both_themes(paper):
    assert [colour for colour in [*PALETTE, INK] if contrast(colour, paper) < 3] == []
    assert [colour for colour in COLOURS.values() if contrast(colour, paper) < 1.3] == []


def test_every_chart_of_a_page_is_made_by_chart():
    """A figure of pyplot's is a white slab on a dark page."""
    pages = [*(PROJECT_ROOT / "notebooks").glob("*.ipynb"), *(PROJECT_ROOT / "helpers").rglob("*.py")]
    drawn = [
        page.name for page in pages if re.search(r"plt\.|import pyplot|matplotlib\.pyplot as", page.read_text("utf-8"))
    ]
    assert drawn == [] and len(pages) > 100
