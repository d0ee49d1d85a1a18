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
import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from helpers.drift import LINK, catalogue_faults, differences
from helpers.files import write_atomic
from helpers.languages import CELL, Language, messages, read_language
from helpers.paths import PROJECT_ROOT

NOTE = {"ko": "_이 노트북은 `{}`에서 자동으로 만들어집니다. 고칠 때는 그 파일을 고쳐 주세요._"}
HEAD = r"<!-- (\S[^>\n]*?) en:(\w+)(?: [a-z]{2}:(\w+))? -->"
BADGES = r"(?m)^\[!\[Open in .*\n\n"  # the line below a title, made by docs/make_badges.py: no text to translate
GLOSSARY = "glossary.md"  # all languages in one
NO_TABLES = Language()
UNREAD = "not signed as it is now: read it beside the English, then `sign`"


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


def faults(source: Path, target: Path, words: Language = NO_TABLES) -> list[tuple[str, str]]:
    """(block, what is wrong with it) for a translation; nothing when it says what the English says."""
    wanted, given = english(source, source.read_text(encoding="utf-8")), translated(target)
    found = [(name, "there is no such block in the English") for name in given if name not in wanted]
    if [name for name in given if name in wanted] != [name for name in wanted if name in given]:
        found.append(("", "the blocks stand in another order than in the English"))
    for name, text in wanted.items():
        if name in given:
            block = given[name]
            found += [(name, fault) for fault in differences(text, block.text, words, short=source.name == GLOSSARY)]
            if block.english != fingerprint(text):
                found.append((name, f"the English has changed, it is en:{fingerprint(text)} now"))
            elif not block.signed:
                found.append((name, UNREAD))
        else:
            found.append((name, f"not translated: <!-- {name} en:{fingerprint(text)} -->"))
    return found


def sign(source: Path, target: Path, words: Language, language: str, only: set[str] | None = None) -> None:
    """Write the hashes of the blocks (or of `only` some) that say what the English says; others keep what they have."""
    wrong = [name for name, fault in faults(source, target, words) if fault != UNREAD]
    blocks = translated(target)

    def signed(head: re.Match) -> str:
        if (name := head[1]) in wrong or (only is not None and name not in only):
            return head[0]
        return f"<!-- {name} en:{head[2]} {language}:{fingerprint(head[2] + blocks[name].text)} -->"

    write_atomic(target, re.sub(HEAD, signed, target.read_text(encoding="utf-8")))


def build(language: str, root: Path = PROJECT_ROOT) -> list[Path]:
    """Write a language's notebooks: the English code, its text (English where none is yet), QLORA_LANG set first.

    What a cell prints is the catalogue's: a literal of the code is replaced by its own in the language.
    """
    import nbformat

    built, said = [], [message for _, message in messages(language, root) if message.context == CELL]
    for source, text in pairs(language, root):
        if source.suffix == ".ipynb" and text.exists():
            notebook, blocks, target = nbformat.read(source, 4), translated(text), text.with_suffix(".ipynb")

            def moved(found, source=source, target=target) -> str:
                """A link to what this language has not leads to the English file."""
                there, here = target.parent / found[2].partition("#")[0], target.parent
                ours = there if there.suffix == ".svg" else there.with_suffix(".md")  # a notebook is made of its text
                if re.match(r"\w+:|[#/]", found[2]) or ours.exists():
                    return found[0]
                return found[1] + os.path.join(os.path.relpath(source.parent, here), found[2])

            for cell in notebook.cells:
                for message in said if cell.cell_type == "code" else ():
                    cell.source = cell.source.replace(f'"{message.id}"', f'"{message.string}"')
                if cell.cell_type == "markdown":
                    badges = "".join(re.findall(BADGES, cell.source)).strip()
                    badges = badges.replace("/notebooks/", f"/notebooks/{language}/")
                    own = with_badges(blocks[cell.id].text, badges) if cell.id in blocks else cell.source
                    cell.source = LINK.sub(moved, own)
            notebook.cells[0].source += "\n\n" + NOTE.get(language, "_Built from `{}`._").format(text.relative_to(root))
            setting = f'import os\n\nos.environ["QLORA_LANG"] = "{language}"'
            notebook.cells.insert(1, nbformat.v4.new_code_cell(setting, id="language"))
            write_atomic(target, nbformat.writes(notebook) + "\n")
            built.append(target)
    return built


def change(source: Path, name: str, hashed: str) -> str:
    """A block's English against the English that was translated, looked up in git; empty where git has it not."""

    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=source.parent, capture_output=True, text=True, check=True).stdout

    new = english(source, source.read_text(encoding="utf-8"))[name]
    for commit in git("log", "--format=%H", "--diff-filter=AM", "--", source.name).split():
        old = english(source, git("show", f"{commit}:./{source.name}")).get(name, "")
        if fingerprint(old) == hashed:
            return "\n".join([*difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)][2:])
    return ""


def main() -> int:
    """The command line; 0 when there is nothing to mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("build", "check", "todo", "sign"))
    parser.add_argument("language", nargs="?", default="ko")
    command, language = vars(parser.parse_args()).values()
    if command == "build":
        print(f"{len(build(language))} notebooks written to notebooks/{language}")
        return 0
    words = read_language(PROJECT_ROOT / "notebooks" / language / "terms.md")
    wrong = [f"{file}: {sentence!r}: {fault}" for file, sentence, fault in catalogue_faults(language, words)]
    for source, target in pairs(language):
        if command == "sign" and target.exists():
            sign(source, target, words, language)
        for name, fault in faults(source, target, words):
            wrong.append(f"{target.relative_to(PROJECT_ROOT)} {name}: {fault}")
            if command == "todo" and "English has changed" in fault:
                wrong.append(change(source, name, translated(target)[name].english))
    summary = f"{len(wrong)} to mend" if wrong else f"Every block says in {language!r} what the English says."
    print("\n".join([*wrong, summary]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
