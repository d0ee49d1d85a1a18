"""What somebody wrote is not typeset: JupyterLab runs MathJax over every output that is HTML."""

import pytest

from tests.browser.lab import Page, jupyter_lab


@pytest.fixture
def page(browser, tmp_path):
    """A notebook in a JupyterLab of its own; nothing in it was run."""
    with jupyter_lab(tmp_path, tmp_path / "runs") as address:
        opened = Page(browser.new_page(viewport={"width": 1100, "height": 900}), address)
        opened.open("01_env_setup.ipynb")
        yield opened
        opened.tab.close()


@pytest.mark.slow
def test_dollars_in_rows_and_replies_are_no_formula(page):
    """JupyterLab typesets `$...$`, `\\(...\\)` and environments in HTML; what came from data stays as it is."""
    text = r"Is it $5 or $6 a month? \(a_b\) $$x$$ \begin{equation}y\end{equation} \ref{z}"
    code = (
        "from IPython.display import HTML, display\nfrom helpers.show.tables import Answer, Table\n"
        f"display(Table([{{'text': {text!r}}}], caption={text!r}), Answer(False, {text!r}), HTML('$a_b$'))"
    )
    cell = "nb01-01"
    page.tab.evaluate(
        "([name, code]) => "
        "{ const cell = jupyterapp.shell.currentWidget.content.widgets.find(cell => cell.model.id === name);"
        " cell.model.sharedModel.setSource(code) }",
        [cell, code],
    )
    page.run_cell(cell)
    page.cell(cell).locator("mjx-container").first.wait_for()  # the formula that is one
    assert page.cell(cell).locator("mjx-container").count() == 1
    shown = page.cell(cell).locator(".jp-OutputArea").first.inner_text()
    assert shown.count(text) == 3, shown
