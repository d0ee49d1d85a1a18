"""The gallery: what belongs to a machine stays there, what was not run is not shown, and a stale gallery is told."""

import base64
import html
import io
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from docs import make_gallery
from docs.gallery_index import FOLDER, FURTHER, MANIFEST, SEVERAL, glossary, moved, pages, wrapped
from docs.make_further import fresh
from docs.make_gallery import (
    MADE_OF,
    current,
    executed,
    fingerprint,
    make,
    page,
    replaced,
    shorten,
    smaller,
    told_shorter,
)
from docs.refresh import refreshed
from docs.workshop.solutions import SOLUTIONS
from helpers.paths import PROJECT_ROOT, runs_root
from helpers.series import NOTEBOOKS, series
from helpers.translate import NOTE

COMMANDS = {
    MANIFEST: "python -m helpers.series demo && python -m docs.make_gallery demo",
    FURTHER: "QLORA_RUNS_DIR=$(mktemp -d) python -m docs.make_further",
}
EVERY = {"index", "glossary", *pages(MANIFEST), *pages(FURTHER)}


@pytest.mark.parametrize("manifest", COMMANDS)
def test_the_committed_gallery_is_of_this_code(manifest):
    """Code cells only: a change of text needs no new run."""
    made = json.loads((FOLDER / manifest).read_text(encoding="utf-8"))
    stale = [name for name, code in current(manifest).items() if made["code"].get(name) != code]
    assert not stale, f"the gallery shows other code than {', '.join(stale)}: {COMMANDS[manifest]}"
    assert {path.stem for path in FOLDER.glob("*.html")} == EVERY


def test_every_page_is_listed_and_no_link_leads_nowhere():
    links = {
        path.stem: re.findall(r'href="([^"#:]+)["#]', path.read_text(encoding="utf-8"))
        for path in FOLDER.glob("*.html")
    }
    assert {Path(link).stem for link in links["index"]} >= EVERY - {"index"}
    lost = {name: link for name, every in links.items() for link in every if not (FOLDER / link).exists()}
    outside = {name: link for name, every in links.items() for link in every if link.endswith(".ipynb")}
    assert not lost and not outside, "a page of the gallery leads to another page of it"


def test_stored_pages_have_the_frame_of_today():
    style = re.search(r"<style>.*?</style>", wrapped("", "index"), re.S)[0]
    old = [path.name for path in FOLDER.glob("*.html") if style not in path.read_text(encoding="utf-8")]
    assert not old, "python -m docs.refresh"


def test_a_stored_page_gets_new_texts_and_keeps_what_was_run(tmp_path, monkeypatch):
    stored = (FOLDER / "02_login.html").read_text(encoding="utf-8")
    book = nbformat.read(pages(MANIFEST)["02_login"], as_version=4)
    book.cells[0].source += "\n\nA *new* line."
    book.cells.append(new_markdown_cell("The last cell.", id="nb02-new"))
    nbformat.write(book, changed := tmp_path / "02_login.ipynb")
    monkeypatch.setattr("docs.refresh.every_page", lambda: {"02_login": changed})
    monkeypatch.setattr("docs.make_gallery.every_page", lambda: {"02_login": changed})
    (tmp_path / "drawings").symlink_to(NOTEBOOKS / "drawings")
    shown = refreshed(stored, "02_login")
    assert "A <em>new</em> line." in shown and "The last cell." in shown
    assert "No token is set." in shown and shown.count("code_cell") == stored.count("code_cell")


def words_of(page: str) -> str:
    """What is read on a page: text without tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"(?s)<style.*?</style>|<[^>]+>", "", page)))


def shown_in(name: str) -> str:
    return words_of((FOLDER / f"{name}.html").read_text(encoding="utf-8"))


def test_the_glossary_is_the_one_of_the_repository():
    assert shown_in("glossary") == words_of(glossary()), "python -m docs.gallery_index"


@pytest.mark.parametrize("name", [name for name in pages(FURTHER) if name.startswith("lab")])
def test_a_stored_lab_is_unsolved(name):
    """Its task and what the check says of it are there; its answer is not."""
    told = shown_in(name)
    assert "The repair is still to be written" in told and "run tiny of" in told
    [answer] = [text for cell, text in SOLUTIONS.items() if cell.partition("-")[0] == name.partition("_")[0]]
    code = " ".join(cell.source for cell in nbformat.read(pages(FURTHER)[name], as_version=4).cells)
    lines = [line.strip() for line in answer.splitlines() if len(line) > 20 and line.strip() not in code]
    assert lines and not [line for line in lines if re.sub(r"\s+", " ", line) in told]


def test_the_stored_comparison_has_four_runs():
    with_rows = (FOLDER / f"{SEVERAL}.html").read_text(encoding="utf-8")
    first = re.search(r"(?s)<table.*?</table>", with_rows[with_rows.index("runs_table") :])[0]
    assert first.count("<tr") == 1 + 4 and "Fewer than two runs" not in with_rows


def test_the_stored_preferences_are_judged_after_the_last_step():
    stored = (FOLDER / "A2_preference.html").read_text(encoding="utf-8")
    table = stored[stored.index("adapters: default, ref") :].partition("</table>")[0]
    steps = re.findall(r"<tr><td[^>]*>(\d+)</td>", table)
    assert f"[{steps[-1]}/{steps[-1]} " in stored, "the log of the last checkpoint lacks what was measured after it"


def test_a_link_to_an_appendix_or_a_lab_stays_in_the_gallery():
    assert moved("../A1_memory.ipynb", NOTEBOOKS / "labs") == "A1_memory.html"
    assert moved("labs/lab2_does_not_fit.ipynb", NOTEBOOKS) == "lab2_does_not_fit.html"
    assert moved("08_compare_runs.ipynb", NOTEBOOKS) == "08_compare_runs.html", "not the one of several runs"


def test_what_was_run_with_the_code_of_today_is_not_run_again(tmp_path):
    path = series()[2]
    assert not fresh(tmp_path / path.name, path)
    copy = as_run(path, tmp_path)
    assert fresh(copy, path)
    book = nbformat.read(copy, as_version=4)
    last = [cell for cell in book.cells if cell.cell_type == "code"][-1]
    last.execution_count = None
    nbformat.write(book, copy)
    assert not fresh(copy, path), "half a run"
    last.execution_count, last.source = 9, "other = 1"
    nbformat.write(book, copy)
    assert not fresh(copy, path)


def test_the_fingerprint_sees_code_and_not_text():
    book = nbformat.read(series()[0], as_version=4)
    before = fingerprint(book)
    book.cells[0].source += " More."
    assert fingerprint(book) == before
    set_up, parameters = [cell for cell in book.cells if cell.cell_type == "code"][:2]
    set_up.source += " # of a fork"
    assert fingerprint(book) == before
    parameters.source += " # more"
    assert fingerprint(book) != before


def as_run(path: Path, folder: Path, *outputs) -> Path:
    """A copy of a notebook as papermill leaves it, with `outputs` in its first code cell after that of the set-up."""
    book = nbformat.read(path, as_version=4)
    for count, cell in enumerate((cell for cell in book.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = list(outputs) if count == 2 else []
    nbformat.write(book, folder / path.name)
    return folder / path.name


def test_a_page_shows_nothing_that_only_its_translators_need(tmp_path):
    path = series()[2]
    book = nbformat.read(as_run(path, tmp_path), as_version=4)
    before = fingerprint(book)
    book.cells.insert(1, new_code_cell('import os\n\nos.environ["QLORA_LANG"] = "ko"', id="language"))
    assert fingerprint(book) == before
    assert replaced("# 01\n\n_a word_\n\n" + NOTE["ko"].format("notebooks/ko/01_x.md"), MADE_OF) == "# 01\n\n_a word_"


def said(text: str):
    return new_output("stream", name="stdout", text=text)


def test_paths_and_names_of_the_machine_are_shortened(tmp_path, monkeypatch):
    monkeypatch.setattr(make_gallery.socket, "gethostname", lambda: "pod-7af3")
    told = f"{runs_root()}/demo/adapter, {PROJECT_ROOT}/notebooks, {Path.home()}/x on pod-7af3"
    copy = as_run(series()[2], tmp_path, said(told))
    shown = page(executed(copy), copy.stem)
    for place in (str(runs_root()), str(PROJECT_ROOT), str(Path.home()) + "/", "pod-7af3"):
        assert place not in shown
    assert "runs/demo/adapter" in shown and "/notebooks" in shown


def test_only_whole_names_are_shortened():
    assert told_shorter(f"{runs_root()}-other") != "runs-other"
    assert told_shorter(f"실행은 {runs_root()}에 있습니다") == "실행은 runs에 있습니다"


@pytest.mark.parametrize("secret", ("hf_" + "a1B2" * 8, "/home/someone/.ssh/key", "/mnt/x/y"))
def test_a_page_that_holds_a_token_or_a_path_is_refused(tmp_path, secret):
    copy = as_run(series()[2], tmp_path, said(f"it is {secret}"))
    with pytest.raises(ValueError, match="belongs to this machine"):
        page(executed(copy), copy.stem)


@pytest.mark.parametrize("words", ("/workspace/runs is a volume", "3/home", "https://huggingface.co/home/x"))
def test_ordinary_words_with_a_stroke_are_not(tmp_path, words):
    copy = as_run(series()[2], tmp_path, said(words))
    assert words.split("/")[-1] in page(executed(copy), copy.stem)


def test_other_code_an_error_and_half_a_run_are_refused(tmp_path):
    path = series()[2]
    copy = as_run(path, tmp_path, new_output("error", ename="E", evalue="e", traceback=[]))
    with pytest.raises(ValueError, match="not run to its end"):
        executed(copy)
    book = nbformat.read(as_run(path, tmp_path), as_version=4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    cells[-1].execution_count = None
    nbformat.write(book, copy)
    with pytest.raises(ValueError, match="not run to its end"):
        executed(copy)
    cells[-1].source += "\n1"
    nbformat.write(book, copy)
    with pytest.raises(ValueError, match="other code cells"):
        executed(copy)


def test_a_missing_notebook_is_named_before_anything_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=series()[0].name):
        make(tmp_path, tmp_path / "gallery", "tiny")
    assert not (tmp_path / "gallery").exists()


def test_pictures_shrink_and_widgets_and_bars_are_left_out():
    from PIL import Image

    out = io.BytesIO()
    Image.effect_mandelbrot((200, 200), (-2, -1, 1, 1), 90).convert("RGB").resize((600, 600)).save(out, format="PNG")
    png = base64.b64encode(out.getvalue()).decode()
    assert len(smaller(png)) < len(png)
    Image.new("RGBA", (60, 60), (9, 105, 218, 0)).save(clear := io.BytesIO(), format="PNG")
    kept = Image.open(io.BytesIO(base64.b64decode(smaller(base64.b64encode(clear.getvalue()).decode()))))
    assert kept.convert("RGBA").getpixel((5, 5))[3] == 0, "a chart is a white slab on a dark page"
    assert shorten(new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"}))
    shown = new_output("display_data", {"text/html": f'<img alt="a" src="data:image/png;base64,{png}">'})
    assert not shorten(shown) and len(shown.data["text/html"]) < len(png) and 'alt="a"' in shown.data["text/html"]
    playable = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/html": "<b>still</b>"})
    assert not shorten(playable) and dict(playable.data) == {"text/html": "<b>still</b>"}
    assert shorten(new_output("display_data", {"text/html": "", "text/plain": ""}))
    assert shorten(new_output("stream", name="stderr", text="base:  50%|#### | 1/2"))
    assert shorten(new_output("stream", name="stdout", text="\n"))
    assert not shorten(new_output("stream", name="stderr", text="UserWarning: rounded again"))


def test_formulas_are_pictures_and_dollars_in_code_stay(tmp_path):
    path = NOTEBOOKS / "05_merge_and_push.ipynb"
    shown = page(executed(as_run(path, tmp_path)), path.stem)
    assert "$$" not in shown and 'alt="W x' in shown
    drawn = [base64.b64decode(found).decode() for found in re.findall(r'alt="W x.+?base64,([^"]+)', shown)]
    assert all("#ffffff" not in picture and "prefers-color-scheme:dark" in picture for picture in drawn), "a white slab"
    assert "<script" not in shown and "cdn" not in shown.lower()
    fenced = "`a $X and $Y` and\n```\n$A $B\n```"
    assert re.sub(make_gallery.MATH, lambda found: "math" if found[2] else found[0], fenced) == fenced


def test_answers_are_folded_until_somebody_asks(tmp_path):
    """nbconvert ends <details> at the first blank line."""
    path = NOTEBOOKS / "04_qlora_training.ipynb"
    shown = page(executed(as_run(path, tmp_path)), path.stem)
    assert re.search(r"<details><summary>Answers</summary>\s*<ol>(?:(?!</details>).)*</ol>\s*</details>", shown, re.S)
    assert "FOLD" not in shown


def test_a_whole_run_becomes_pages_that_need_nothing_else(whole_run, tmp_path):
    assert (whole_run.notebooks / "drawings" / "series_map.svg").exists(), "the executed copies link to it"
    written = make(whole_run.notebooks, tmp_path / "gallery", "tiny")
    names = {path.name for path in written}
    assert names == {"index.html", *(f"{path.stem}.html" for path in series())}
    assert (tmp_path / "gallery" / "glossary.html").exists()
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text and 'src="http' not in text and 'src="drawings' not in text, path.name
        for target in re.findall(r'href="([^"#:]+)"', text):
            assert (FOLDER / target).resolve().exists() or target in names, f"{path.name} links to {target}"
    numbers = json.loads(whole_run.evaluation.read_text())["models"]
    result = (tmp_path / "gallery" / "result.svg").read_text(encoding="utf-8")
    assert all(f">{found['nll']:.2f}<" in result for found in numbers.values())
    assert json.loads((tmp_path / "gallery" / MANIFEST).read_text())["code"] == current()
