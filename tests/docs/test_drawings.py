"""The drawings are what their command makes, fit on their sheet, and can be read in both themes and without eyes."""

import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import nbformat
import pytest
from PIL import ImageFont

from docs.drawings import LANGUAGES, NAMES, drawings, folder
from docs.drawings.paper import COLOURS, WIDTH
from docs.drawings.result import draw as draw_result
from docs.drawings.series_map import FILES, NOTEBOOKS
from docs.drawings.token_shift import QUESTION
from tests.conftest import ROOT

SVG = "{http://www.w3.org/2000/svg}"
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


BOTH = pytest.mark.parametrize("language, name", [(language, name) for language in LANGUAGES for name in NAMES])


@pytest.fixture(scope="module")
def made():
    return {(language, sheet.name): sheet for language in LANGUAGES for sheet in drawings(language)}


@BOTH
def test_the_committed_file_is_what_the_command_makes(made, language, name):
    kept = (folder(language) / f"{name}.svg").read_text(encoding="utf-8")
    assert kept == made[language, name].svg(), "run: python -m docs.drawings"


@pytest.mark.parametrize("name", NAMES)
def test_a_korean_drawing_says_in_english_only_names_and_the_row(made, name):
    ours, english = made["ko", name], made["en", name]
    assert len(ours.parts) == len(english.parts) and re.search("[가-힣]", ours.alt)
    for part in ours.parts:
        words = re.sub(r"<[^>]+>", "", part).replace(QUESTION, "") if part.startswith("<text") else ""
        left = re.findall(r"(?<![\w./-])[a-z]{2,}(?![\w./=-])", "" if " mono" in part else words)
        assert set(left) <= {"ln", "null", "gguf", "labels", "llama"}, words


def test_the_result_is_drawn_with_and_without_intervals():
    found = {
        "nll": 1.234,
        "nll_low": 1.1,
        "nll_high": 1.4,
        "rows": 48,
        "answer_tokens": 3921,
        "replies": 12,
        "stops": 0.75,
    }
    alone = {**found, "nll_low": None, "nll_high": None, "rows": 1}
    with_line, without = (draw_result({"models": {"base": one}}, "demo").svg() for one in (found, alone))
    assert ">1.23<" in with_line and ">1.23<" in without and ">9 of 12<" in with_line
    assert with_line.count("<path") == without.count("<path") + 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_drawing_is_left_over(language):
    assert sorted(path.stem for path in folder(language).iterdir()) == sorted(NAMES)


def extent(text) -> tuple[float, float]:
    """Left and right end of a text in DejaVu Sans, the widest of the fonts that the drawings name; Hangul in Noto."""
    fonts = Path(matplotlib.get_data_path()) / "fonts/ttf"
    words, size, mono = "".join(text.itertext()), float(text.get("font-size")), "mono" in text.get("class")
    font = ImageFont.truetype(fonts / ("DejaVuSansMono.ttf" if mono else "DejaVuSans-Bold.ttf"), 100)
    bold = mono or text.get("font-weight") or text.find(f"{SVG}tspan") is not None
    hangul = len(re.findall("[가-힣]", words))
    latin = font.getlength(re.sub("[가-힣]", "", words)) * (1 if bold else 0.91)  # its regular letters are narrower
    width = (latin / 100 + 0.92 * hangul) * size
    left = float(text.get("x")) - {"start": 0, "middle": width / 2, "end": width}[text.get("text-anchor")]
    return left, left + width


@BOTH
def test_words_stay_on_the_sheet_and_are_large_enough(language, name):
    tree = ElementTree.parse(folder(language) / f"{name}.svg").getroot()
    height = float(tree.get("height"))
    for text in tree.iter(f"{SVG}text"):
        words, size, (left, right) = "".join(text.itertext()), float(text.get("font-size")), extent(text)
        assert left >= 10 and right <= WIDTH - 10, f"{words!r} leaves the sheet"
        assert size >= 15 and size < float(text.get("y")) < height - 8, words


@BOTH
def test_words_stay_in_their_box_and_do_not_touch_each_other(language, name):
    tree = ElementTree.parse(folder(language) / f"{name}.svg").getroot()
    boxes = [[float(box.get(side) or 0) for side in ("x", "y", "width", "height")] for box in tree.iter(f"{SVG}rect")]
    texts = [("".join(text.itertext()), float(text.get("y")), *extent(text)) for text in tree.iter(f"{SVG}text")]
    for words, y, left, right in texts:
        middle = (left + right) / 2
        around = [b for b in boxes if b[0] < middle < b[0] + b[2] and b[1] < y - 4 < b[1] + b[3]]
        x, _top, wide, _high = min(around, key=lambda box: box[2])
        assert x <= left and right <= x + wide, f"{words!r} is wider than its box"
    for i, (words, y, left, right) in enumerate(texts):
        for others, other_y, other_left, other_right in texts[:i]:
            apart = abs(y - other_y) > 14 or right < other_left or other_right < left
            assert apart or not words or not others, f"{words!r} touches {others!r}"


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", (0, 1), ids=("light", "dark"))
def test_every_word_has_contrast(theme):
    """4.5 to 1, as WCAG asks: every colour on the paper, ink and soft on every wash."""
    shade = {name: luminance(pair[theme]) for name, pair in COLOURS.items()}
    pairs = [(name, "paper") for name in shade if name not in ("paper", "rule") and not name.endswith("wash")]
    pairs += [(word, wash) for word in ("ink", "soft") for wash in shade if wash.endswith("wash")]
    for word, under in pairs:
        dark, light = sorted((shade[word], shade[under]))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{word} on {under}"


def pictures(path: Path) -> list[tuple[str, str]]:
    """(alternative text, target) of every picture in the text of a page."""
    if path.suffix == ".md":
        text = path.read_text(encoding="utf-8")
    else:
        cells = nbformat.read(path, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    tags = re.findall(r'<img [^>]*src="([^"]+)"[^>]*alt="([^"]*)"', text)
    assert len(tags) == text.count("<img "), f"{path.name}: a picture without src and alt, in this order"
    return re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text) + [(words, target) for target, words in tags]


def test_every_picture_has_alternative_text_and_every_drawing_is_shown():
    shown = {}
    for page in [*BOOKS, ROOT / "README.md"]:
        for words, target in pictures(page):
            assert len(words.split()) >= 8, f"{page.name}: {target} needs words for those who cannot see it"
            assert (page.parent / target).exists(), f"{page.name} shows {target}, which is not there"
            shown[(page.parent / target).resolve()] = page
    assert {path.stem for path in shown if path.parent == folder("en")} == set(NAMES)


def test_the_map_says_what_the_heads_of_the_notebooks_say():
    """Writes exactly; of what is read, all that a head names."""
    for path in BOOKS:
        number, head = path.stem[:2], nbformat.read(path, as_version=4).cells[0].source
        if number not in NOTEBOOKS or path.stem == "00_first_look":
            continue

        def named(row, head=head):
            line = re.search(rf"^\| {row} \|.*$", head, re.M)[0].replace("model's `config.json`", "")
            spans = re.sub(r"data/\w+\.jsonl", "data/", line)
            return {file for file in FILES if f"`{file}`" in spans}

        assert named("Writes") == {file for file, (by, _) in FILES.items() if number in by}, path.name
        assert named("Reads") <= {file for file, use in FILES.items() if number in " ".join(use)}, path.name
