"""Another language over the same code cells: text in plain Markdown, notebooks built from it, every drift an error.

build   notebooks/ko/*.ipynb from notebooks/*.ipynb and notebooks/ko/*.md
check   what is missing, older than its English, or says something else; exit code 1 when there is any
todo    the same, with the change of the English
sign    write the hash of each block that was read against its English and has no other fault

A page of text (README.md) is translated beside itself (README.ko.md), a block per heading; a row of the glossary in its
own cell. A block is headed by `<!-- ID en:HASH ko:HASH -->`: the cell's id, or the number of the heading, a hash of the
English that it translates, and one of both together: a block that changed is to be read again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT

NOTE = {"ko": "_이 노트북은 `{}`에서 자동으로 만들어집니다. 고칠 때는 그 파일을 고쳐 주세요._"}
HEAD = r"<!-- (\S[^>\n]*?) en:(\w+)(?: [a-z]{2}:(\w+))? -->"
BADGES = r"(?m)^\[!\[Open in .*\n\n"  # the line below a title, made by docs/make_badges.py: no text to translate
GLOSSARY = "glossary.md"  # all languages in one
CELL = "cell"  # gettext's context of a literal in a notebook's code
LINK = re.compile(r"(\]\(|src=\"|href=\")([^)\"\s]+)")


class Block(NamedTuple):
    """A translated block: the hash of its English, its text, and the hash of both (empty: not signed yet)."""

    english: str
    text: str
    both: str

    @property
    def signed(self) -> bool:
        """Is this text the one that was read beside its English?"""
        return self.both == fingerprint(self.english + self.text)


def fingerprint(text: str) -> str:
    """Eight hexadecimal digits of a block's English."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8]


def english(source: Path, content: str) -> dict[str, str]:
    """The blocks to translate in a file's content, by id: text cells of a notebook, sections of a page of text."""
    if source.name == GLOSSARY:
        return dict(re.findall(r"^\| \*\*(.+?)\*\* \|.*?\| ([^|]*?)<br>", content, flags=re.M))
    if source.suffix == ".ipynb":
        cells = json.loads(content)["cells"]
        texts = {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"}
        return {name: with_badges(text).strip() for name, text in texts.items()}
    fenced, sections = False, [[]]
    text = re.sub(r"\A---\n.*?\n---\s+", "", with_badges(content), flags=re.S)  # without the settings of slides
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if re.match("#{1,3} ", line) and not fenced and sections[-1]:
            sections.append([])
        sections[-1].append(line)
    return {str(number): "\n".join(lines).strip() for number, lines in enumerate(sections)}


def with_badges(text: str, line: str = "") -> str:
    """`text` with `line` below its first title, in place of the badges that were there."""
    bare = re.sub(BADGES, "", text)
    return re.sub(r"(?m)^(# .+\n)", rf"\1\n{line}\n", bare, count=1) if line else bare


def translated(target: Path) -> dict[str, Block]:
    """Every block of a translation, by id; empty where the file is not there."""
    content = target.read_text(encoding="utf-8") if target.exists() else ""
    parts = re.split(HEAD, with_badges(content))[1:]
    texts = [text.partition(" |")[0] if target.name == GLOSSARY else text.strip() for text in parts[3::4]]
    heads = zip(parts[::4], parts[1::4], parts[2::4], texts, strict=True)
    return {name: Block(hashed, text, both or "") for name, hashed, both, text in heads}


def pairs(language: str, root: Path = PROJECT_ROOT) -> list[tuple[Path, Path]]:
    """Every English file with the file of its translation: notebooks, labs, and the pages of text."""
    folder = root / "notebooks"
    notebooks = [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("labs/*.ipynb"))]
    pages = [root / "README.md", folder / "data" / "README.md", *sorted((root / "docs").rglob("*.md"))]
    pages = [page for page in pages if page.exists() and page.name != "settings.md"]  # made from the code
    return [(path, (folder / language / path.relative_to(folder)).with_suffix(".md")) for path in notebooks] + [
        (page, page if page.name == GLOSSARY else page.with_suffix(f".{language}.md"))
        for page in pages
        if "." not in page.stem
    ]


class Message(NamedTuple):
    """An entry of the catalogue: gettext's context, the English, its translation."""

    context: str
    id: str
    string: str


def messages(language: str, root: Path) -> Iterator[tuple[str, Message]]:
    """(file, message) of the language's catalogue: what the code says, and what the cells of notebooks print."""
    from babel.messages.pofile import read_po

    for file in sorted((root / "helpers" / "locale" / language).glob("*.po")):
        for entry in read_po(file.read_bytes().splitlines()):
            if entry.id:
                yield file.name, Message(entry.context or "", str(entry.id), str(entry.string))


def build(language: str, root: Path = PROJECT_ROOT) -> list[Path]:
    """Write a language's notebooks: the English code, its text (English where none is yet), QLORA_LANG set first.

    What a cell prints is the catalogue's: a literal of the code is replaced by its own in the language.
    """
    literals = [message for _, message in messages(language, root) if message.context == CELL]
    found = [(source, text) for source, text in pairs(language, root) if source.suffix == ".ipynb" and text.exists()]
    for source, text in found:
        write_atomic(text.with_suffix(".ipynb"), _notebook(source, text, language, literals, text.relative_to(root)))
    return [text.with_suffix(".ipynb") for _source, text in found]


def _notebook(source: Path, text: Path, language: str, literals: list[Message], made_of: Path) -> str:
    """The notebook `source` with the blocks of `text`, as JSON; its first cell says that it is `made_of` that file."""
    notebook, blocks = json.loads(source.read_text(encoding="utf-8")), translated(text)
    for cell in notebook["cells"]:
        own = "".join(cell["source"])
        if cell["cell_type"] == "code":
            for message in literals:
                own = own.replace(f'"{message.id}"', f'"{message.string}"')
        elif cell["cell_type"] == "markdown":
            badges = "".join(re.findall(BADGES, own)).strip()
            badges = badges.replace("/notebooks/", f"/notebooks/{language}/")
            own = with_badges(blocks[cell["id"]].text, badges) if cell["id"] in blocks else own
            own = LINK.sub(lambda found: _moved(found, source.parent, text.parent), own)
        cell["source"] = own
    notebook["cells"][0]["source"] += "\n\n" + NOTE.get(language, "_Built from `{}`._").format(made_of)
    setting = f'import os\n\nos.environ["QLORA_LANG"] = "{language}"'
    empty = {"cell_type": "code", "execution_count": None, "id": "language", "metadata": {}, "outputs": []}
    notebook["cells"].insert(1, {**empty, "source": setting})
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _moved(link: re.Match, theirs: Path, here: Path) -> str:
    """A link on a page in `here`; to what this language has not, it leads to the English file, in `theirs`."""
    there = here / link[2].partition("#")[0]
    ours = there if there.suffix == ".svg" else there.with_suffix(".md")  # a notebook is made of its text
    if re.match(r"\w+:|[#/]", link[2]) or ours.exists():
        return link[0]
    return link[1] + os.path.join(os.path.relpath(theirs, here), link[2])


def main() -> int:
    """The command line; 0 when there is nothing to mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("build", "check", "todo", "sign"))
    parser.add_argument("language", nargs="?", default="ko")
    chosen = parser.parse_args()
    if chosen.command == "build":
        print(f"{len(build(chosen.language))} notebooks written to notebooks/{chosen.language}")
        return 0
    from docs.translation.review import review  # a tool of authors: no notebook needs it

    return review(chosen.command, chosen.language)


if __name__ == "__main__":
    sys.exit(main())
