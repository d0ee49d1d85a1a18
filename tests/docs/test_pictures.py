"""Every picture has words in its place, no output of a clean run is a fault, and no screenshot is older than what it
shows."""

import json
import re

import nbformat
import pytest

from helpers.series import series
from tests.browser.look import nameless_pictures
from tests.conftest import ROOT

PICTURES = ROOT / "docs" / "pictures"
AGAIN = "python -m proofs.proof_browser --pictures RUN"
TEXTS = sorted(
    path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
BOOKS = sorted((ROOT / "notebooks").glob("**/*.ipynb"))


@pytest.mark.parametrize("path", [*TEXTS, *BOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_picture_of_the_texts_has_words(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert nameless_pictures(re.sub(r"`[^`\n]*`", "", text)) == []


def test_there_are_pictures_to_look_at():
    assert sum(len(re.findall(r"<img |!\[", path.read_text(encoding="utf-8"))) for path in [*TEXTS, *BOOKS]) > 10


@pytest.mark.parametrize("drawing", sorted(ROOT.glob("notebooks/**/drawings/*.svg")), ids=lambda path: path.stem)
def test_every_drawing_has_words(drawing):
    assert nameless_pictures(drawing.read_text(encoding="utf-8")) == []


def test_a_clean_run_shows_no_box_of_stderr_no_widget_and_no_picture_without_words(whole_run):
    shown = 0
    for path in series():
        copy = nbformat.read(whole_run.notebooks / path.name, as_version=4)
        for cell in (cell for cell in copy.cells if cell.cell_type == "code"):  # nobody is looking: no votes by widget
            for output in cell.outputs:
                where = f"{path.stem}, {cell.id}"
                assert output.get("name") != "stderr", f"{where}: {output.text}"
                data = output.get("data", {})
                assert "application/vnd.jupyter.widget-view+json" not in data, where
                assert not any(kind.startswith("image/") for kind in data), (
                    f"{where}: helpers.show.pictures.Picture has words"
                )
                assert nameless_pictures(data.get("text/html", "")) == [], where
                shown += "<img" in data.get("text/html", "")
    assert shown >= 6


def test_no_screenshot_is_older_than_what_it_shows(whole_run):
    """A cell's code, the headings of the report: numbers may differ, since they belong to the run."""
    made = json.loads((PICTURES / "made.json").read_text(encoding="utf-8"))
    assert {path.stem for path in PICTURES.glob("*.png")} == set(made)
    for name, told in made.items():
        assert (PICTURES / f"{name}.png").stat().st_size < 150_000 and told["alt"], name
        if "cell" in told:
            cells = nbformat.read(ROOT / "notebooks" / told["notebook"], as_version=4).cells
            assert told["code"] == next(cell.source for cell in cells if cell.id == told["cell"]), f"{name}: {AGAIN}"
        else:
            page = whole_run.report_html.read_text(encoding="utf-8")
            assert told["headings"] == re.findall("<h2>(.*?)</h2>", page), f"{name}: {AGAIN}"
