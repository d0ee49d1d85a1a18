"""Badges and the first cell of every notebook: made from one line; the cell makes the set-up where there is none."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from docs import make_badges
from docs.make_badges import ID, notebook, origin, written
from helpers.translate import english
from tests.conftest import ROOT

GITHUB, TAG = "https://github.com/an-owner/a.name", "v9.8.7"
PAGE = ROOT / "notebooks" / "05_merge_and_push.ipynb"


def first(text: str) -> str:
    """The source of the cell in a notebook's text."""
    [cell] = [cell for cell in nbformat.reads(text, 4).cells if cell.id == ID]
    return cell.source


def test_all_pages_are_those_that_the_address_asks_for():
    old = [file.name for file, text in written(*origin()).items() if file.read_text(encoding="utf-8") != text]
    assert not old, f".venv/bin/python -m docs.make_badges: {old}"


def test_the_version_is_that_of_the_changelog():
    """Also before its release: the first cell of a page clones what belongs to the page, not the release before it."""
    newest = re.search(r"(?m)^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert origin()[1] == f"v{newest[1]}"


def test_badges_lead_to_the_file_of_this_version():
    for file, text in written(GITHUB, TAG).items():
        text = nbformat.reads(text, 4).cells[0].source if file.suffix == ".ipynb" else text
        colab, kaggle = re.findall(r"\[!\[Open in [^]]+\]\([^)]+\)\]\(([^)]+)\)", text)
        place = urlsplit(colab).path.removeprefix("/github/")
        assert place.startswith(f"an-owner/a.name/blob/{TAG}/notebooks/"), colab
        assert parse_qs(urlsplit(kaggle).query)["src"] == [f"https://github.com/{place}"]
        opened = ROOT / place.partition(f"{TAG}/")[2]
        own = {"README.md": "notebooks/00_first_look.ipynb", "README.ko.md": "notebooks/ko/00_first_look.ipynb"}
        assert opened == ROOT / own.get(file.name, file.relative_to(ROOT))
        assert re.match(r"(<!-- .+ -->\n)?# [^\n]+\n\n\[!\[Open", text), "they stand below the title"


def test_badges_are_no_text_to_translate_and_go_again(tmp_path, monkeypatch):
    plain, with_them = PAGE.read_text(encoding="utf-8"), notebook(PAGE, GITHUB, TAG)
    assert "Open in" in with_them and english(PAGE, with_them) == english(PAGE, notebook(PAGE, "", TAG))
    readme = written(GITHUB, TAG)[ROOT / "README.md"]
    assert english(ROOT / "README.md", readme) == english(ROOT / "README.md", (ROOT / "README.md").read_text())
    monkeypatch.setattr(make_badges, "PROJECT_ROOT", tmp_path)
    (tmp_path / PAGE.name).write_text(with_them)
    assert notebook(tmp_path / PAGE.name, *origin_of(plain)) == plain


def origin_of(text: str) -> tuple[str, str]:
    """Address and tag in the cell of a notebook's text."""
    found = re.search(r'--branch=(\S+) (\S+)"', first(text))
    return (found[2], found[1]) if found else ("", "")


@pytest.mark.parametrize("address", ["https://gitlab.com/a/b", "file:///srv/clone", ""])
def test_only_what_lies_on_github_has_badges(address):
    assert "Open in" not in notebook(PAGE, address, TAG)
    assert ("clone" in first(notebook(PAGE, address, TAG))) is bool(address)


@pytest.mark.parametrize("address", ["https://me:secret@github.com/a/b", "git@github.com:a/b", 'https://a/"b'])
def test_an_address_with_a_name_or_token_in_it_is_refused(address, tmp_path, monkeypatch):
    told = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(re.sub("(?m)^repository = .*", f"repository = '{address}'", told))
    monkeypatch.setattr(make_badges, "PROJECT_ROOT", tmp_path)
    with pytest.raises(ValueError, match="no https address"):
        origin()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A kernel like a host's own: the packages are there, the helpers are not."""
    folder = tmp_path_factory.mktemp("host")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    [site] = (folder / "venv/lib").glob("python*/site-packages")
    (site / "all.pth").write_text(sysconfig.get_path("purelib") + "\n")
    spec = folder / "kernels/host"
    spec.mkdir(parents=True)
    argv = [str(folder / "venv/bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "host", "language": "python"}))
    return folder


def run(kernel, folder, monkeypatch, *sources: str) -> list:
    """The cells `sources`, run in `folder` by the kernel; what each of them showed. Raises CellExecutionError."""
    monkeypatch.setenv("JUPYTER_PATH", str(kernel))
    for name in ("PYTHONPATH", "PYTEST_CURRENT_TEST"):  # with the second one, a kernel shows nothing of a child
        monkeypatch.delenv(name, raising=False)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(book, kernel_name="host", timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in book.cells]


def test_without_address_and_without_a_clone_it_says_what_to_do(kernel, tmp_path, monkeypatch):
    with pytest.raises(CellExecutionError) as error:
        run(kernel, tmp_path, monkeypatch, first(notebook(PAGE, "", TAG)))
    assert error.value.ename == "ModuleNotFoundError" and "choose the kernel QLoRA" in error.value.evalue


def test_where_the_set_up_was_made_another_kernel_gets_no_packages(kernel, tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "setup_kernel.sh").write_text("touch installed\n")
    (tmp_path / ".venv").mkdir()
    with pytest.raises(CellExecutionError, match="choose the kernel QLoRA"):
        run(kernel, tmp_path / "notebooks", monkeypatch, first(PAGE.read_text(encoding="utf-8")))
    assert not list(tmp_path.rglob("installed"))


@pytest.mark.slow  # clones, and fetches llama.cpp's converters
def test_the_cell_clones_this_version_and_the_next_one_has_the_helpers(kernel, tmp_path, monkeypatch):
    project, host = tmp_path / "project", tmp_path / "host"
    host.mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(
        ["xargs", "-0", "cp", "--parents", "-t", project.mkdir() or project], input=files, cwd=ROOT, check=True
    )
    git = ["git", "-C", project, "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "v"], ["tag", TAG], ["rm", "-rq", "helpers"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run([*git, "commit", "-qm", "after the tag"], check=True)
    cell = first(notebook(PAGE, f"file://{project}", TAG))
    shown = run(kernel, host, monkeypatch, cell, "import helpers\nprint(helpers.__path__[0])", cell)
    assert "Ready: " in shown[0] and shown[1].strip() == f"{host}/qlora-notebooks/helpers" and not shown[2]
    with pytest.raises(CellExecutionError, match="CalledProcessError"):  # a tag that is not there
        os.rename(host / "qlora-notebooks", tmp_path / "elsewhere")
        run(kernel, host, monkeypatch, first(notebook(PAGE, f"file://{project}", "v0")))
