"""What the gallery's pages share: which there are, how they link to each other, their frame, and the first one.

python -m docs.gallery_index    writes the English first page and the glossary, with the way to ko/ where that was made
(docs.refresh writes all the other pages anew, too)

In git the Korean pages are not there, so that no page leads to them.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from pathlib import Path

import nbformat

from docs.drawings import series_map
from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT
from helpers.series import series
from helpers.show.words import N_, _, language

FOLDER = PROJECT_ROOT / "docs" / "gallery"
NOTEBOOKS = PROJECT_ROOT / "notebooks"
PICTURES = PROJECT_ROOT / "docs" / "pictures"
STYLE = (Path(__file__).parent / "gallery.css").read_text(encoding="utf-8")
GLOSSARY = PROJECT_ROOT / "docs" / "glossary.md"
MANIFEST, FURTHER = "gallery.json", "further.json"  # run, day and code of the series, and of all that goes further
SEVERAL = "08_several_runs"  # 08 once more, where there is something to compare
HEADS = {  # what goes further, by how the names of its pages begin
    "08": N_("Several runs, side by side"),
    "A": N_("Appendices"),
    "lab": N_("Labs, as you will find them: what is broken is not repaired yet"),
}


def pages(manifest: str) -> dict[str, Path]:
    """The notebook of every page of the gallery that this manifest lists, by the page's name, in order."""
    every = series()
    if manifest == MANIFEST:
        return {path.stem: path for path in every}
    folder, [compare] = every[0].parent, [path for path in every if path.stem[:2] == "08"]
    labs = sorted(folder.glob("labs/lab*.ipynb"), key=lambda path: int(re.search(r"\d+", path.stem)[0]))
    return {SEVERAL: compare} | {path.stem: path for path in [*sorted(folder.glob("A[0-9]*.ipynb")), *labs]}


def every_page() -> dict[str, Path]:
    """Those of both manifests, in the language of QLORA_LANG."""
    return pages(MANIFEST) | pages(FURTHER)


def moved(link: str, folder: Path) -> str:
    """A link of a notebook in `folder` as its page has it: another page of the gallery, else the repository's file."""
    target = Path(os.path.normpath(folder / link))
    if target == GLOSSARY or target.suffix == ".ipynb" and target.stem in every_page():
        return f"{target.stem}.html"
    text = target.with_suffix(".md") if target.parent != NOTEBOOKS and target.suffix == ".ipynb" else target
    return os.path.relpath(text if text.exists() else target, gallery())


def linked(body: str, folder: Path) -> str:
    """The HTML of a file in `folder` with its links `moved`."""
    return re.sub(r'href="([^"#:]+)(?=["#])', lambda link: f'href="{moved(link[1], folder)}', body)


def gallery() -> Path:
    """docs/gallery, or a folder of the language in it."""
    return FOLDER if language() == "en" else FOLDER / language()


def wrapped(body: str, title: str, told: str = "") -> str:
    """A page: `body` below the way back to the first one and what is `told` of the run."""
    from pygments.formatters import HtmlFormatter

    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    style = STYLE + HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    style += f"@media(prefers-color-scheme:dark){{{dark}.highlight{{background:none}}}}"
    every, more = _("All notebooks"), f" · {html.escape(told)}" if told else ""
    back = "" if title == "index" else f'<nav><a href="index.html">{every}</a>{more}</nav>'
    begin = f'<!doctype html>\n<html lang="{language()}"><head>{head}<style>{style}</style></head>'
    return f"{begin}<body>{back}<main>{body}</main></body></html>\n"


def index(folder: Path, other: str = "") -> str:
    """The first page of the gallery in `folder`: every notebook with its goal, then what goes further; the way to the
    `other` language."""
    made = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    told = _("The notebooks with their outputs: run {run} of {day}.").format(
        run=f"<code>{made['run']}</code>", day=made["date"]
    )
    other = other if language() == "en" else '<a href="../index.html">English</a>'
    title = _("A fine-tune you can read")
    result = shown((folder / "result.svg").read_text(encoding="utf-8"))
    body = f"<h1>{title}</h1><p>{told} {other}</p>{result}{listed(pages(MANIFEST))}"
    if (folder / FURTHER).exists():
        further = pages(FURTHER)
        for begin, head in HEADS.items():
            body += f"<h2>{_(head)}</h2>{listed({name: further[name] for name in further if name.startswith(begin)})}"
    words = '<p><a href="glossary.html">Glossary · 용어집</a></p>'
    return wrapped("".join([body, words, shown(series_map.draw().svg()), *screenshots()]), "index")


def glossary() -> str:
    """The words as a page."""
    from nbconvert.filters import markdown2html

    body = markdown2html(GLOSSARY.read_text(encoding="utf-8")).replace("<table>", '<table class="words">')
    return wrapped(linked(body, GLOSSARY.parent), GLOSSARY.stem)


def listed(notebooks: dict[str, Path]) -> str:
    """Links to the pages, each with its goal where it tells one."""
    rows = []
    for name, path in notebooks.items():
        head = nbformat.read(path, as_version=4).cells[0].source
        goal = re.search(r"\*\*(?:Goal|목표):\*\* (.+)", head)
        below = f"<br>{html.escape(re.sub('[*`]', '', goal[1]))}" if goal else ""
        rows.append(f'<li><a href="{name}.html">{html.escape(re.search(r"# (.+)", head)[1])}</a>{below}</li>')
    return f"<ul class='books'>{''.join(rows)}</ul>"


def shown(svg: str) -> str:
    """A drawing of ours as a picture in the page; its title is the alternative text."""
    alt = html.escape(html.unescape(re.search(r"<title>(.*?)</title>", svg, re.S)[1]))
    return f'<p><img alt="{alt}" src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"></p>'


def screenshots() -> list[str]:
    """What proofs/proof_browser.py photographed, each below its own words."""
    made = json.loads((PICTURES / "made.json").read_text(encoding="utf-8"))
    pngs = {name: base64.b64encode((PICTURES / f"{name}.png").read_bytes()).decode() for name in made}
    return [
        f'<p>{words}</p><p><img alt="{words}" src="data:image/png;base64,{pngs[name]}"></p>'
        for name, words in ((name, html.escape(told["alt"])) for name, told in made.items())
    ]


def main() -> None:
    korean = FOLDER / "ko" / "index.html"
    way = f'<a href="{korean.relative_to(FOLDER)}">한국어</a>' if korean.exists() else ""
    write_atomic(FOLDER / "index.html", index(FOLDER, way))
    write_atomic(FOLDER / "glossary.html", glossary())


if __name__ == "__main__":
    main()
