"""The executed series as web pages that need nothing else, to be read without installing anything.

python -m helpers.series demo && python -m docs.make_gallery demo

With QLORA_LANG=ko the Korean series, into docs/gallery/ko.

Code and outputs are those of the run, texts those of the repository, with the run's numbers (docs/figures.py). Paths of
the machine are shortened, a page that still holds one, or a token, is refused. `tests/docs/test_gallery.py` compares
the code cells with those of the notebooks.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
import socket
import sys
import tempfile
from pathlib import Path

import nbformat

from docs.drawings import file_size, series_map
from docs.drawings.paper import Drawing
from docs.drawings.result import draw as draw_result
from docs.figures import fill
from docs.make_badges import ID as SET_UP
from helpers.files import write_atomic, write_json
from helpers.model.source import cache_root
from helpers.paths import PROJECT_ROOT, runs_root
from helpers.runs import RunDir
from helpers.series import copies, series
from helpers.show.units import human_bytes
from helpers.show.words import _, language
from helpers.translate import with_badges

FOLDER = PROJECT_ROOT / "docs" / "gallery"
NOTEBOOKS = PROJECT_ROOT / "notebooks"
PICTURES = PROJECT_ROOT / "docs" / "pictures"
MANIFEST = "gallery.json"
EMBEDDED = r"(?<=data:image/png;base64,)[A-Za-z0-9+/=]+"
LARGEST = 600_000  # bytes of one page
PRIVATE = r"hf_[A-Za-z0-9]{16,}|(?<![\w.~/-])/(?:root|home|tmp|work|Users|mnt|opt|var)/[^\s<'\"]*"
MATH = r"(?s)```.*?```|`[^`]*`|(\${1,2})([^$\n]+)\1"  # code first: a dollar sign in it is none of ours
# nbconvert closes <details> at the first blank line, so it stands as a paragraph of its own until the page is HTML
FOLDS = ((r"<details><summary>(.*?)</summary>", r"\n\nFOLD:\1\n\n"), (r"</details>", "\n\nFOLDED\n\n"))
UNFOLDS = ((r"<p>FOLD:(.*?)</p>", r"<details><summary>\1</summary>"), (r"<p>FOLDED</p>", "</details>"))
STYLE = (Path(__file__).parent / "gallery.css").read_text(encoding="utf-8")


def fingerprint(book) -> str:
    """SHA-256 over the code cells: a change of text leaves it as it is, and so does the cell of the set-up."""
    return hashlib.sha256(json.dumps([cell.source for cell in code_cells(book)]).encode()).hexdigest()


def code_cells(book) -> list:
    """Those that the gallery shows: without the cell of the set-up."""
    return [cell for cell in book.cells if cell.cell_type == "code" and cell.id != SET_UP]


def current() -> dict[str, str]:
    """The fingerprint of every notebook of the series, by name."""
    return {path.stem: fingerprint(nbformat.read(path, as_version=4)) for path in series()}


def told_shorter(text: str) -> str:
    """`text` without this machine: its folders, its user and its name."""
    places = {str(runs_root()): "runs", str(cache_root()): ".cache", sys.prefix: ".venv", str(PROJECT_ROOT): "."}
    places |= {str(Path.home()): "~", tempfile.gettempdir(): "tmp"}
    for place in sorted(places, key=len, reverse=True):
        text = re.sub(rf"{re.escape(place)}(?![\w-])", places[place], text)
    host = socket.gethostname()
    return (
        re.sub(rf"\b{re.escape(host)}\b", "machine", text) if len(host) > 3 else text
    )  # "vm" is a word, and says nothing


def source_of(name: str) -> Path:
    """The notebook of the series that has this name, in the language of QLORA_LANG."""
    return next(path for path in series() if path.stem == name)


def executed(copy: Path):
    """The executed `copy` with the texts of the repository, ready to be shown.

    Raises ValueError when it is of other code, was not run to its end, or holds an error.
    """
    done = nbformat.read(copy, as_version=4)
    source = source_of(copy.stem)
    book = nbformat.read(source, as_version=4)
    if fingerprint(done) != fingerprint(book):
        raise ValueError(f"{copy} was run with other code cells than {source.relative_to(PROJECT_ROOT)}: run it again.")
    ran = iter(code_cells(done))
    book.cells = [cell for cell in book.cells if cell.id != SET_UP]
    for cell in book.cells:
        if cell.cell_type != "code":
            cell.source = replaced(with_badges(cell.source), FOLDS)
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
        return output.name == "stderr" and "%|" in output.text  # progress bars
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
    depth = math_to_image(f"${tex}$", out, prop=FontProperties(size=size), format="svg", dpi=72)
    picture = base64.b64encode(re.sub(rb"<metadata>.*?</metadata>", b"", out.getvalue(), flags=re.S)).decode()
    style = f"vertical-align:{-depth:.1f}px" if dollars == "$" else "display:block;margin:auto"
    return f'<img style="{style}" alt="{html.escape(tex)}" src="data:image/svg+xml;base64,{picture}">'


def page(book, name: str) -> str:
    """One notebook as a whole HTML page. Raises ValueError for one that holds a token or a path, or is too large."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", embed_images=True)
    folder = source_of(name).parent
    resources = {"metadata": {"path": str(folder), "name": name}}
    body = re.sub(
        r'href="([^"#:]+)(?=["#])',
        lambda link: f'href="{moved(link[1], folder)}',
        exporter.from_notebook_node(book, resources)[0],
    )
    whole = wrapped(replaced(body, UNFOLDS), name)
    if found := re.search(PRIVATE, re.sub(r"base64,[A-Za-z0-9+/=]+", "", whole)):
        raise ValueError(f"{name} holds {found[0][:12]}..., which belongs to this machine alone: nothing was written.")
    if len(whole.encode()) > LARGEST:
        raise ValueError(f"{name} has {human_bytes(len(whole.encode()))}; a page may have {human_bytes(LARGEST)}.")
    return whole


def moved(link: str, folder: Path) -> str:
    """A link of a notebook in `folder` as its page has it: another page of the gallery, else the repository's file."""
    target = Path(os.path.normpath(folder / link))
    if target in series():
        return f"{target.stem}.html"
    text = target.with_suffix(".md") if target.parent != NOTEBOOKS and target.suffix == ".ipynb" else target
    return os.path.relpath(text if text.exists() else target, gallery())


def gallery() -> Path:
    """docs/gallery, or a folder of the language in it."""
    return FOLDER if language() == "en" else FOLDER / language()


def wrapped(body: str, title: str) -> str:
    from pygments.formatters import HtmlFormatter

    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    style = STYLE + HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    style += f"@media(prefers-color-scheme:dark){{{dark}.highlight{{background:none}}}}"
    every = _("All notebooks")
    back = "" if title == "index" else f'<nav><a href="index.html">{every}</a></nav>'
    begin = f'<!doctype html>\n<html lang="{language()}"><head>{head}<style>{style}</style></head>'
    return f"{begin}<body>{back}<main>{body}</main></body></html>\n"


def index(books: dict, run: str, day: str, result: Drawing) -> str:
    """The first page: every notebook with its goal."""
    rows = []
    for name, book in books.items():
        head = book.cells[0].source
        title, goal = re.search(r"# (.+)", head)[1], re.search(r"\*\*(?:Goal|목표):\*\* (.+)", head)[1]
        rows.append(f'<li><a href="{name}.html">{html.escape(title)}</a><br>{html.escape(goal)}</li>')
    told = _("The notebooks with their outputs: run {run} of {day}.").format(run=f"<code>{run}</code>", day=day)
    title = _("A fine-tune you can read")
    images = [f"<p>{shown(sheet)}</p>" for sheet in (result, series_map.draw())] + screenshots()
    words = f'<p><a href="{os.path.relpath(PROJECT_ROOT / "docs/glossary.md", gallery())}">Glossary · 용어집</a></p>'
    list_of_them = f"<ul class='books'>{''.join(rows)}</ul>"
    return wrapped(f"<h1>{title}</h1><p>{told}</p>{list_of_them}{''.join(images)}{words}", "index")


def shown(sheet: Drawing) -> str:
    picture = base64.b64encode(sheet.svg().encode()).decode()
    return f'<img alt="{html.escape(sheet.alt)}" src="data:image/svg+xml;base64,{picture}">'


def screenshots() -> list[str]:
    """What proofs/proof_browser.py photographed."""
    made = json.loads((PICTURES / "made.json").read_text(encoding="utf-8"))
    pages = {name: base64.b64encode((PICTURES / f"{name}.png").read_bytes()).decode() for name in made}
    return [
        f'<p><img alt="{html.escape(told["alt"])}" src="data:image/png;base64,{pages[name]}"></p>'
        for name, told in made.items()
    ]


def make(notebooks: Path, folder: Path, run: str) -> dict[Path, int]:
    """Write the pages of the executed copies in `notebooks`, an index, the result and the manifest; page -> bytes.

    Raises FileNotFoundError when a notebook of the series was not run; ValueError as `executed` and `page` do.
    """
    if missing := [path.name for path in series() if not (notebooks / path.name).exists()]:
        raise FileNotFoundError(f"{missing[0]} is missing in {notebooks}: python -m helpers.series {run}")
    books = {path.stem: executed(notebooks / path.name) for path in series()}
    pages = {f"{name}.html": page(book, name) for name, book in books.items()}  # all of them, before one is written
    run_folder = notebooks.parent if notebooks.name == "notebooks" else notebooks.parent.parent
    started = nbformat.read(notebooks / series()[0].name, as_version=4).metadata.papermill.start_time
    result = draw_result(json.loads((run_folder / "evaluation.json").read_text(encoding="utf-8")), run)
    pages["index.html"] = index(books, run, day := started[:10], result)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.html"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        write_atomic(folder / name, text)
    write_atomic(folder / "result.svg", result.svg())  # the README shows it
    write_json(folder / MANIFEST, {"run": run, "date": day, "code": current()})
    return {folder / name: len(text.encode()) for name, text in pages.items()}


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
