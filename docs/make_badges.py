"""The first code cell of every notebook, which makes the set-up where there is none, and the badges above it.

python -m docs.make_badges    writes both from `repository` in pyproject.toml, `[tool.qlora]`

Colab and Kaggle open what lies on GitHub, under the tag of this version; the cell clones that tag. While `repository`
is empty, there are no badges, and the cell says what to do instead of cloning.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from urllib.parse import quote

from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT
from helpers.translate import with_badges

ID = "set-up"  # of the cell; its tag, too
CELL = """\
# @title Set-up: where it was made, nothing happens
import site
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if not find_spec("helpers"):  # Colab, Kaggle, a plain JupyterLab
    home = next((up for up in Path.cwd().parents if (up / "setup_kernel.sh").exists()), Path.cwd() / "qlora-notebooks")
{clone}    if not home.exists() or (home / ".venv").exists():
        raise ModuleNotFoundError("No helpers here: choose the kernel QLoRA, or run 'bash setup_kernel.sh --here'.")
    subprocess.run(["env", f"PYTHON={sys.executable}", "bash", home / "setup_kernel.sh", "--here"], check=True)
    site.main()  # what was installed can be imported now
"""
CLONE = """\
    if not home.exists():
        clone = "git -c advice.detachedHead=false clone -q --depth=1 --branch={tag} {repository}"
        subprocess.run([*clone.split(), home], check=True)
"""
HOSTS = {  # what the badge says -> its picture, and the page that opens a file of GitHub
    "Open in Colab": (
        "https://colab.research.google.com/assets/colab-badge.svg",
        "https://colab.research.google.com/github/{path}",
    ),
    "Open in Kaggle": (
        "https://kaggle.com/static/images/open-in-kaggle.svg",
        "https://kaggle.com/kernels/welcome?src=https://github.com/{path}",
    ),
}


def origin() -> tuple[str, str]:
    """Where this project can be cloned ("" for nowhere yet), and the tag of its version.

    Raises ValueError for an address that everybody should not read."""
    told = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    repository = told["tool"]["qlora"]["repository"].removesuffix("/")
    if repository and not re.fullmatch(r"(https|file)://[\w./~:-]+", repository):
        raise ValueError(f"repository = {repository!r} is no https address without a name or token in it.")
    return repository, f"v{told['project']['version']}"


def badges(file: Path, repository: str, tag: str) -> str:
    """A line of Markdown that opens the notebook `file`; "" for a repository that is not on GitHub."""
    place = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?", repository)
    if not place:
        return ""
    path = quote(f"{place[1]}/blob/{tag}/{file.relative_to(PROJECT_ROOT).as_posix()}")
    return " ".join(f"[![{name}]({image})]({page.format(path=path)})" for name, (image, page) in HOSTS.items())


def notebook(file: Path, repository: str, tag: str) -> str:
    """The notebook `file` with its badges and its first code cell."""
    book = json.loads(file.read_text(encoding="utf-8"))
    head, *cells = (cell for cell in book["cells"] if cell["id"] != ID)
    head["source"] = with_badges("".join(head["source"]), badges(file, repository, tag)).splitlines(keepends=True)
    clone = CLONE.format(tag=tag, repository=repository) if repository else ""
    first = {
        "cell_type": "code",
        "execution_count": None,
        "id": ID,
        "metadata": {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": [ID]},
        "outputs": [],
        "source": CELL.replace("{clone}", clone).strip().splitlines(keepends=True),
    }
    return json.dumps(book | {"cells": [head, first, *cells]}, indent=1, ensure_ascii=False) + "\n"


def readme(file: Path, folder: str, repository: str, tag: str) -> str:
    """The README `file`, whose badges open the first look in `folder`."""
    first = PROJECT_ROOT / folder / "00_first_look.ipynb"
    return with_badges(file.read_text(encoding="utf-8"), badges(first, repository, tag))


def written(repository: str, tag: str) -> dict[Path, str]:
    """Every file that holds badges or the cell, with the text that it is to have."""
    notebooks = sorted([*PROJECT_ROOT.glob("notebooks/*.ipynb"), *PROJECT_ROOT.glob("notebooks/labs/*.ipynb")])
    pages = {"README.md": "notebooks", "README.ko.md": "notebooks/ko"}
    return {file: notebook(file, repository, tag) for file in notebooks} | {
        PROJECT_ROOT / name: readme(PROJECT_ROOT / name, folder, repository, tag) for name, folder in pages.items()
    }


if __name__ == "__main__":
    for file, text in written(*origin()).items():
        write_atomic(file, text)
