"""The notebooks as people meet them: in JupyterLab, with a mouse, with Stop, with a page that is loaded again.

A few cells of a few notebooks; proofs/proof_browser.py runs all of them, in an older JupyterLab, too.
"""

import json
import re
import shutil

import nbformat
import pytest

from helpers.evaluate.voting import blind_pairs
from helpers.files import read_jsonl
from helpers.settings import RunConfig
from tests.browser.lab import Page, jupyter_lab, outputs
from tests.browser.look import faint_words, nameless_pictures, too_wide
from tests.conftest import ROOT

STOPPED = {"run_name": "stopped", "max_steps": 40, "save_steps": 5, "logging_steps": 5}
BOXES = ".jp-OutputArea-output"


@pytest.fixture(scope="module")
def runs(whole_run, tmp_path_factory):
    """Copies of the finished run: whole as `tiny`, and as 03 left it as `stopped`."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(whole_run.path, folder / "tiny", ignore=shutil.ignore_patterns("trainer", "gguf", "notebooks"))
    (folder / "stopped").mkdir()
    for path in (whole_run.config_json, whole_run.data_report, whole_run.train_jsonl, whole_run.eval_jsonl):
        copy = folder / "stopped" / path.relative_to(whole_run.path)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    return folder


@pytest.fixture(scope="module")
def lab(runs, browser, tmp_path_factory):
    """One JupyterLab for this file; opens a notebook in a tab that is 1,100 pixels wide."""
    folder = tmp_path_factory.mktemp("lab")
    with jupyter_lab(folder, runs) as address:
        path = folder / "notebooks/04_qlora_training.ipynb"  # as a reader writes into the second cell
        path.write_text(path.read_text().replace("OVERRIDES = {}", f"OVERRIDES = {STOPPED}".replace('"', "'")))
        pages = []

        def opened(name: str, *cells: str) -> Page:
            page = Page(browser.new_page(viewport={"width": 1100, "height": 900}), address)
            pages.append(page)
            page.open(name)
            assert page.kernel() == "qlora"
            for cell in cells:
                page.run_cell(cell)
            return page

        yield opened
        for page in pages:
            page.tab.close()


def is_clean(page: Page) -> None:
    """No error, no box of stderr, no widget that could not be shown, nothing that the browser's console calls an
    error."""
    for cell, output in outputs(page.cells()):
        assert output["output_type"] != "error", f"{cell}: {output['ename']}: {output['evalue']}"
        assert output.get("name") != "stderr", f"{cell}: {output['text']}"
    assert "Error displaying widget" not in page.tab.inner_text("body")
    if page.overloaded:  # after it was opened once more: the server's own, and no fault of the page
        print("JupyterLab answered with a fault of its own:", *page.overloaded)
        page.errors = [error for error in page.errors if "status of 5" not in error]
    assert page.errors == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/**/*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_asks_for_the_kernel_qlora(path):
    assert nbformat.read(path, as_version=4).metadata.kernelspec == {
        "name": "qlora",
        "display_name": "QLoRA",
        "language": "python",
    }


@pytest.mark.slow
def test_a_token_tells_its_id_and_label_and_all_can_be_read(lab):
    page = lab("03_data_preview.ipynb", "nb03-01", "nb03-03", "nb03-25", "nb03-23")
    token = page.cell("nb03-25").locator("span[title$='· learned']").first
    token.hover()
    assert re.fullmatch(r"id \d+(, \d+)* · label \d+(, \d+)* · learned", token.get_attribute("title"))
    for theme in ("dark", "light"):
        page.theme(theme)
        assert faint_words(page.tab, BOXES) == []
    for width in (700, 1100):
        page.tab.set_viewport_size({"width": width, "height": 900})
        assert too_wide(page.tab, BOXES) == []
    is_clean(page)


@pytest.mark.slow
def test_a_slider_changes_the_picture_and_its_words(lab):
    page = lab("A1_memory.ipynb", "nb00-01", "a1-03", "a1-17")
    shown = page.cell("a1-17").locator(".widget-html img")
    before = shown.get_attribute("alt"), shown.get_attribute("src")
    slider = page.cell("a1-17").locator(".widget-slider").filter(has_text="rows per step").locator("[role=slider]")
    slider.focus()
    page.tab.keyboard.press("ArrowRight")
    page.tab.wait_for_function(
        "([cell, old]) => cell.querySelector('.widget-html img').alt !== old",
        arg=[page.cell("a1-17").element_handle(), before[0]],
    )
    assert shown.get_attribute("src") != before[1] and "chosen" in shown.get_attribute("alt")
    assert nameless_pictures(page.cell("a1-17").inner_html()) == []
    [(_, still)] = [
        found
        for found in outputs(page.cells())
        if "application/vnd.jupyter.widget-view+json" in found[1].get("data", {})
    ]
    assert f'alt="{before[0]}"' in still["data"]["text/html"], "a saved copy shows the picture without a kernel"
    is_clean(page)


@pytest.mark.slow
def test_a_message_that_a_reader_types_is_answered(lab):
    page = lab("00_first_look.ipynb", "nb00f-01", "nb00f-03")
    cell = page.cell("nb00f-03")
    assert "Lunch with Mara" in cell.locator(".widget-html").inner_text()
    cell.locator(".widget-text input").fill("Tea with <b>Ada</b> at nine")
    cell.locator(".widget-text input").press("Enter")
    answered = cell.locator(".widget-html td").filter(has_text="Tea with <b>Ada</b> at nine")
    answered.wait_for()
    is_clean(page)


@pytest.mark.slow
def test_a_click_is_a_vote(lab, runs):
    page = lab("06_evaluation.ipynb", "nb06-01", "nb06-03", "nb06-27")
    votes = runs / "tiny/votes.jsonl"
    count = len(read_jsonl(votes)) if votes.exists() else 0
    cell = page.cell("nb06-27")
    assert " 1 of " in f" {cell.locator('.widget-html').inner_text()}"
    cell.get_by_role("button", name="B is better").click()
    page.tab.wait_for_function(
        "cell => cell.querySelector('.widget-html').innerText.startsWith('2 of ')", arg=cell.element_handle()
    )
    [vote] = read_jsonl(votes)[count:]
    pairs = blind_pairs(read_jsonl(runs / "tiny/comparisons.jsonl"), "base", "adapter", RunConfig.load("tiny").seed)
    assert vote["winner"] == next(pair["models"][1] for pair in pairs if pair["key"] == vote["key"])
    page.reload()  # the kernel lives: the same pair is still asked for
    page.cell("nb06-27").locator(".widget-html").filter(has_text="2 of ").wait_for()
    is_clean(page)


@pytest.mark.slow
def test_dollars_in_rows_and_replies_are_no_formula(lab):
    """JupyterLab typesets `$...$`, `\\(...\\)` and environments in HTML; what came from data stays as it is."""
    page, cell = lab("01_env_setup.ipynb"), "nb01-01"
    text = r"Is it $5 or $6 a month? \(a_b\) $$x$$ \begin{equation}y\end{equation} \ref{z}"
    code = (
        "from IPython.display import HTML, display\nfrom helpers.show.tables import Answer, Table\n"
        f"display(Table([{{'text': {text!r}}}], caption={text!r}), Answer(False, {text!r}), HTML('$a_b$'))"
    )
    page.write(cell, code)
    page.run_cell(cell)
    page.cell(cell).locator("mjx-container").first.wait_for()  # the formula that is one
    assert page.cell(cell).locator("mjx-container").count() == 1
    shown = page.cell(cell).locator(".jp-OutputArea").first.inner_text()
    assert shown.count(text) == 3, shown


def chart(page: Page) -> str:
    """What the live chart of 04 says, or nothing."""
    found = page.cell("nb04-36").locator("img[alt*='step']")
    return found.first.get_attribute("alt") if found.count() else ""


def at_step(page: Page, least: int) -> None:
    """Waits until the live chart has come to step `least`."""
    page.tab.wait_for_function(
        "([cell, least]) => [...cell.querySelectorAll('img')].some(img => Number(img.alt.match(/^step (\\d+)/)?.[1]) "
        ">= least)",
        arg=[page.cell("nb04-36").element_handle(), least],
        timeout=120_000,
    )


@pytest.mark.slow
def test_training_is_seen_stopped_and_resumed(lab, runs):
    cells = [
        cell["id"]
        for cell in json.loads((ROOT / "notebooks/04_qlora_training.ipynb").read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    before = cells[: cells.index("nb04-36")]
    page = lab("04_qlora_training.ipynb", *before)
    page.run_cell("nb04-36", wait=False)
    at_step(page, 5)
    first = chart(page)
    at_step(page, 10)
    assert chart(page) != first, "the chart grows"
    page.command("notebook:interrupt-kernel")
    page.ready()
    [stopped] = [output for _, output in outputs(page.cells()) if output["output_type"] == "error"]
    assert stopped["ename"] == "Stopped" and "Run this cell again" in stopped["evalue"]
    reached = max(row["step"] for row in read_jsonl(runs / "stopped/metrics.jsonl"))
    assert reached < STOPPED["max_steps"]
    page.run_cell("nb04-36")
    rows = read_jsonl(runs / "stopped/metrics.jsonl")
    second = [row["step"] for row in rows if row.get("sitting") == 2]
    assert min(second) > 5 and max(second) == STOPPED["max_steps"], "it goes on from a checkpoint"
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == sorted(set(steps)) and "step 40 of 40" in (told := chart(page))
    assert nameless_pictures(page.cell("nb04-36").inner_html()) == []
    page.reload()
    assert chart(page) == told, "the chart stands after the page is loaded again"
    is_clean(page)
    page.restart_kernel()
    assert chart(page) == told, "and after the kernel is gone"
