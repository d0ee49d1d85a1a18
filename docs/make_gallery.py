"""The executed series as web pages that need nothing else, to be read without installing anything.

python -m helpers.series demo && python -m docs.make_gallery demo

With QLORA_LANG=ko the Korean series, into docs/gallery/ko.

Code and outputs are those of the run, texts those of the repository, with the run's numbers (docs/figures.py). Paths of
the machine are shortened, a page that still holds one, or a token, is refused. `tests/docs/test_gallery.py` compares
the code cells with those of the notebooks. What goes further (appendices, labs) is made by docs/make_further.py.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import socket
import sys
import tempfile
from pathlib import Path

import nbformat

from docs.drawings import file_size
from docs.drawings.result import draw as draw_result
from docs.figures import fill
from docs.gallery_index import (
    FOLDER,
    GLOSSARY,
    MANIFEST,
    NOTEBOOKS,
    every_page,
    gallery,
    glossary,
    index,
    linked,
    pages,
    wrapped,
)
from docs.make_badges import ID as SET_UP
from helpers.files import write_atomic, write_json
from helpers.model.source import cache_root
from helpers.paths import PROJECT_ROOT, runs_root
from helpers.runs import RunDir
from helpers.series import copies, series
from helpers.show.units import human_bytes
from helpers.show.words import language
from helpers.translate import with_badges

EMBEDDED = r"(?<=data:image/png;base64,)[A-Za-z0-9+/=]+"
UNSEEN = (SET_UP, "language")  # ids of cells
LARGEST = 600_000  # bytes of one page
PRIVATE = r"hf_[A-Za-z0-9]{16,}|(?<![\w.~/-])/(?:root|home|tmp|work|Users|mnt|opt|var)/[^\s<'\"]*"
PLAINER = (
    (r"\\[bB]ig(?=[(\[\])|])", ""),
    (r"\\t?frac", r"\\dfrac"),  # its own are tiny
    (r"\\text\b", r"\\mathrm"),
)  # what matplotlib draws of TeX
INK = "svg{fill:#1f2328}@media(prefers-color-scheme:dark){svg{fill:#e9edf2}}"  # of a formula, as in gallery.css
MATH = r"(?s)```.*?```|`[^`]*`|(\${1,2})([^$\n]+)\1"  # code first: a dollar sign in it is none of ours
# nbconvert closes <details> at the first blank line, so it stands as a paragraph of its own until the page is HTML
FOLDS = ((r"<details><summary>(.*?)</summary>", r"\n\nFOLD:\1\n\n"), (r"</details>", "\n\nFOLDED\n\n"))
MADE_OF = ((r"\n\n_[^\n]*`[\w./-]+\.md`[^\n]*_\Z", ""),)  # for who mends a translation, not for who reads it
UNFOLDS = ((r"<p>FOLD:(.*?)</p>", r"<details><summary>\1</summary>"), (r"<p>FOLDED</p>", "</details>"))


def fingerprint(book) -> str:
    """SHA-256 over the code cells: a change of text leaves it as it is, and so does the cell of the set-up."""
    return hashlib.sha256(json.dumps([cell.source for cell in code_cells(book)]).encode()).hexdigest()


def code_cells(book) -> list:
    """Those that the gallery shows: without the cells of the set-up and of the language."""
    return [cell for cell in book.cells if cell.cell_type == "code" and cell.id not in UNSEEN]


def current(manifest: str = MANIFEST) -> dict[str, str]:
    """The fingerprint of every notebook of the pages that this manifest lists, by name."""
    return {name: fingerprint(nbformat.read(path, as_version=4)) for name, path in pages(manifest).items()}


def told_shorter(text: str) -> str:
    """`text` without this machine: its folders, its user and its name."""
    places = {str(runs_root()): "runs", str(cache_root()): ".cache", sys.prefix: ".venv", str(PROJECT_ROOT): "."}
    places |= {str(Path(sys.prefix).resolve()): ".venv"}  # of a link to it
    places |= {str(Path.home()): "~", tempfile.gettempdir(): "tmp"}
    for place in sorted(places, key=len, reverse=True):  # ASCII: a Korean particle may follow
        text = re.sub(rf"{re.escape(place)}(?![\w-])", places[place], text, flags=re.ASCII)
    host = socket.gethostname()
    if len(host) < 4:  # "vm" is a word, and says nothing
        return text
    return re.sub(rf"\b{re.escape(host)}\b", "machine", text, flags=re.ASCII)


def executed(copy: Path):
    """The executed `copy` with the texts of the repository, ready to be shown.

    Raises ValueError when it is of other code, was not run to its end, or holds an error.
    """
    done = nbformat.read(copy, as_version=4)
    source = every_page()[copy.stem]
    book = nbformat.read(source, as_version=4)
    if fingerprint(done) != fingerprint(book):
        raise ValueError(f"{copy} was run with other code cells than {source.relative_to(PROJECT_ROOT)}: run it again.")
    ran = iter(code_cells(done))
    book.cells = [cell for cell in book.cells if cell.id not in UNSEEN]
    for cell in book.cells:
        if cell.cell_type != "code":
            cell.source = replaced(with_badges(cell.source), MADE_OF + FOLDS)
            cell.source = re.sub(MATH, lambda found: formula(*found.groups()) if found[2] else found[0], cell.source)
            continue
        cell.outputs, cell.execution_count = (same := next(ran)).outputs, same.execution_count
        if cell.execution_count is None or any(output.output_type == "error" for output in cell.outputs):
            raise ValueError(f"{copy} was not run to its end: run it again.")
        cell.outputs = [output for output in cell.outputs if not shorten(output)]
    book.metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    return book


def replaced(text: str, pairs: tuple) -> str:
    for pattern, instead in pairs:
        text = re.sub(pattern, instead, text)
    return text


def shorten(output) -> bool:
    """Make one output small and free of the machine, in place; True when nothing of it can be shown."""
    if output.output_type == "stream":
        output.text = told_shorter(output.text)
        return not output.text.strip() or output.name == "stderr" and "%|" in output.text  # nothing, or progress bars
    if any("widget" in kind for kind in output.data):  # needs a kernel; the page beside it does not
        output.data = {kind: page for kind, page in output.data.items() if kind == "text/html"}
    data = output.data
    if not data or data.get("text/html") == "":  # a bar that is gone
        return True
    for kind in ("text/html", "text/plain", "image/svg+xml"):
        if kind in data:
            data[kind] = told_shorter(data[kind])
    if "text/html" in data:
        data["text/html"] = re.sub(EMBEDDED, lambda found: smaller(found[0]), data["text/html"])
    if "image/png" in data:
        data["image/png"] = smaller(data["image/png"])
    return False


def smaller(png: str) -> str:
    """A base64 PNG with 128 colours in place of 16 million; what is transparent stays so, for the dark theme."""
    from PIL import Image

    picture, out = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"), io.BytesIO()
    picture.quantize(128, method=Image.Quantize.FASTOCTREE).save(out, format="PNG", optimize=True)
    return min(base64.b64encode(out.getvalue()).decode(), png, key=len)


def formula(dollars: str, tex: str) -> str:
    """TeX as a picture in the page, since nothing is loaded from elsewhere; its words stay as alternative text."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    out, size = io.BytesIO(), 13 if dollars == "$" else 17
    depth = math_to_image(f"${replaced(tex, PLAINER)}$", out, prop=FontProperties(size=size), format="svg", dpi=72)
    drawn = re.sub(r"(?s)<metadata>.*?</metadata>", "", out.getvalue().decode()).replace("fill: #ffffff", "fill: none")
    picture = base64.b64encode(drawn.replace("</style>", f"{INK}</style>", 1).encode()).decode()
    style = f"vertical-align:{-depth:.1f}px" if dollars == "$" else "display:block;margin:auto"
    return f'<img style="{style}" alt="{html.escape(tex)}" src="data:image/svg+xml;base64,{picture}">'


def page(book, name: str, told: str = "") -> str:
    """One notebook as a whole HTML page, with what is `told` of its run.

    Raises ValueError for one that holds a token or a path, or is too large.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", embed_images=True)
    folder = every_page()[name].parent
    resources = {"metadata": {"path": str(folder), "name": name}}
    body = linked(exporter.from_notebook_node(book, resources)[0], folder)
    whole = wrapped(replaced(body, UNFOLDS), name, told)
    if found := re.search(PRIVATE, re.sub(r"base64,[A-Za-z0-9+/=]+", "", whole)):
        raise ValueError(f"{name} holds {found[0][:12]}..., which belongs to this machine alone: nothing was written.")
    if len(whole.encode()) > LARGEST:
        raise ValueError(f"{name} has {human_bytes(len(whole.encode()))}; a page may have {human_bytes(LARGEST)}.")
    return whole


def make(notebooks: Path, folder: Path, run: str) -> dict[Path, int]:
    """Write the pages of the executed copies in `notebooks`, an index, the result and the manifest; page -> bytes.

    Raises FileNotFoundError when a notebook of the series was not run; ValueError as `executed` and `page` do.
    """
    if missing := [path.name for path in series() if not (notebooks / path.name).exists()]:
        raise FileNotFoundError(f"{missing[0]} is missing in {notebooks}: .venv/bin/python -m helpers.series {run}")
    made = {name: page(executed(notebooks / path.name), name) for name, path in pages(MANIFEST).items()}
    run_folder = notebooks.parent if notebooks.name == "notebooks" else notebooks.parent.parent
    result = draw_result(json.loads((run_folder / "evaluation.json").read_text(encoding="utf-8")), run)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "result.svg", result.svg())  # the README shows it
    return write(folder, MANIFEST, made, run, day(notebooks / series()[0].name))


def day(copy: Path) -> str:
    """When the executed `copy` was begun: 2026-11-30."""
    return nbformat.read(copy, as_version=4).metadata.papermill.start_time[:10]


def write(folder: Path, manifest: str, made: dict[str, str], run: str, date: str) -> dict[Path, int]:
    """Write the pages `made`, by name, with their manifest, then the index; pages that no notebook has go."""
    for old in folder.glob("*.html"):
        if old.stem not in {"index", GLOSSARY.stem, *every_page()}:
            old.unlink()
    for name, text in made.items():
        write_atomic(folder / f"{name}.html", text)
    write_json(folder / manifest, {"run": run, "date": date, "code": current(manifest)})
    write_atomic(folder / "glossary.html", glossary())
    write_atomic(folder / "index.html", first := index(folder))
    return {folder / f"{name}.html": len(text.encode()) for name, text in (made | {"index": first}).items()}


def main() -> int:
    run = sys.argv[1] if len(sys.argv) > 1 else "demo"
    try:
        if language() == "en":
            make(runs_root() / run / "notebooks", FOLDER, run)
            fill()  # the pages and one drawing quote what was just printed
            (NOTEBOOKS / "drawings" / "file_size.svg").write_text(file_size.draw().svg(), encoding="utf-8")
        written = make(copies(RunDir(runs_root() / run)), gallery(), run)
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    for path, size in written.items():
        print(f"{human_bytes(size):>8}  {path.relative_to(PROJECT_ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
