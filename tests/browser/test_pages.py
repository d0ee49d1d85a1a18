"""The pages that people open outside of a notebook, in a real browser: readable in both themes, on a phone, without a
network."""

import shutil

import pytest

from helpers.workshop import board
from tests.browser.look import faint_words, nameless_pictures, too_wide
from tests.workshop.test_class import participant

PAGES = ("report", "board")
pytestmark = pytest.mark.slow  # the report is one of the whole series


@pytest.fixture(scope="module")
def pages(whole_run, tmp_path_factory):
    """The two pages of a finished run and of a class with every state that a row can have."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copy(whole_run.report_html, folder / "report.html")
    for i, merge in enumerate(("green", "red", "unclear", "")):
        participant(folder / "class", f"학생{i}", 10, merge=merge, red=i % 2, labs={"lab1": i > 1})
    late = max(path.stat().st_mtime for path in (folder / "class").rglob("*")) + board.QUIET + 1
    (folder / "board.html").write_text(board.page(folder / "class", now=late), encoding="utf-8")
    return folder


@pytest.fixture
def open_page(browser, pages):
    """Opens one of PAGES in a theme and a width; whatever it asks of the network, or calls an error, is a failure."""
    opened, wrong = [], []

    def opener(name: str, theme: str = "light", width: int = 1100):
        opened.append(browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900}))
        tab = opened[-1].new_page()
        tab.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith("file:") else None)
        tab.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
        tab.goto((pages / f"{name}.html").as_uri())
        tab.evaluate("() => document.querySelectorAll('details').forEach(folded => { folded.open = true })")
        return tab

    yield opener
    for context in opened:
        context.close()
    assert not wrong, wrong


@pytest.mark.parametrize("theme", ("light", "dark"))
@pytest.mark.parametrize("name", PAGES)
def test_words_stand_out_in_both_themes(open_page, name, theme):
    tab = open_page(name, theme)
    paper = tab.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (theme == "light")
    assert faint_words(tab) == []


@pytest.mark.parametrize("width", (1100, 700, 390))
@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_its_window(open_page, name, width):
    assert too_wide(open_page(name, width=width)) == []


@pytest.mark.parametrize("name", PAGES)
def test_pictures_have_words(open_page, name):
    tab = open_page(name)
    assert nameless_pictures(tab.content()) == []
    assert tab.locator("svg[role=img]").count() == (name != "board")


def test_every_column_of_the_report_is_explained(open_page):
    tab = open_page("report")
    heads = {
        head for head in tab.locator("th").all_inner_texts() if not head.endswith(".gguf")
    }  # a file is its own name
    told = tab.locator("dl.columns dt").all_inner_texts()
    assert heads - set(told) == set() and len(told) == len(set(told))


def test_the_report_has_every_part_and_shows_a_token_under_the_mouse(open_page):
    tab = open_page("report", width=390)
    parts = "Training; What it learns from; Is it better?; What was won, what was lost; Merge report; Replies, side by side; Cost"
    assert [part for part in parts.split("; ") if part not in tab.locator("h2").all_inner_texts()] == []
    learned = tab.locator("span[title$='· learned']").first
    learned.hover()
    assert learned.get_attribute("title").startswith("id ") and " · label " in learned.get_attribute("title")
    first, second = (tab.locator(".cards").first.locator("> div").nth(i).bounding_box() for i in range(2))
    assert second["y"] > first["y"], "on a phone the replies stand below each other"


def test_a_fault_of_each_kind_is_found(browser):
    """What measures here is measured itself."""
    tab = browser.new_page(viewport={"width": 700, "height": 500})
    tab.set_content(
        "<body style='background:#fff'><p style='color:#777'>faint</p><p style='color:#767676'>just readable</p>"
        "<p style='opacity:.5'>half</p><div style='background:#000'><b style='color:#fff'>fine</b><i "
        "style='color:#333'>dark</i></div>"
        "<p style='width:800px'>wide</p><div style='overflow:auto'><p style='width:800px'>scrolls</p></div></body>"
    )
    assert [found.split(":")[0] for found in faint_words(tab)] == ["faint", "half", "dark"]
    assert [found.split(":")[0] for found in too_wide(tab, seconds=0)] == ["wide"]
    for picture in ("<img src='a'>", "<img alt='' src='a'>", "<svg></svg>", "<svg role='img'></svg>"):
        assert len(nameless_pictures(picture)) == 1, picture
    for picture in (
        "<img src='a' alt='b'>",
        "<svg role='img' aria-label='b'/>",
        "<svg role='img'><title>b</title></svg>",
    ):
        assert nameless_pictures(picture) == [], picture
    tab.close()
