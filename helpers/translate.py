"""Another language over the same code cells: text in plain Markdown, notebooks built from it, every drift an error.

build   notebooks/ko/*.ipynb from notebooks/*.ipynb and notebooks/ko/*.md
check   what is missing, older than its English, or says something else; exit code 1 when there is any
todo    the same, with the change of the English

A page of text (README.md) is translated beside itself (README.ko.md), a block per heading. A block is headed by
`<!-- ID en:HASH -->`: the cell's id, or the number of the heading, and a hash of the English that it translates.
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
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT

NOTE = {"ko": "_이 노트북은 `{}`에서 자동으로 만들어집니다. 고칠 때는 그 파일을 고쳐 주세요._"}
CODE = re.compile(r"```.*?```|`[^`\n]+`|\$\$.+?\$\$|\$[^$\n]+\$", re.S)
LINK = re.compile(r"(\]\(|src=\")([^)\"\s]+)")


def fingerprint(text: str) -> str:
    """Eight hexadecimal digits of a block's English."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8]


def english(source: Path, content: str) -> dict[str, str]:
    """The blocks to translate in a file's content, by id: text cells of a notebook, sections of a page of text."""
    if source.suffix == ".ipynb":
        cells = json.loads(content)["cells"]
        return {cell["id"]: "".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "markdown"}
    fenced, sections = False, [[]]
    for line in re.sub(r"\A---\n.*?\n---\s+", "", content, flags=re.S).splitlines():  # without the settings of slides
        fenced ^= line.startswith("```")
        if re.match("#{1,3} ", line) and not fenced and sections[-1]:
            sections.append([])
        sections[-1].append(line)
    return {str(number): "\n".join(lines).strip() for number, lines in enumerate(sections)}


def translated(target: Path) -> dict[str, tuple[str, str]]:
    """Hash and text of every block of a translation, by id; empty where the file is not there."""
    content = target.read_text(encoding="utf-8") if target.exists() else ""
    parts = re.split(r"^<!-- (\S+) en:(\w+) -->\n", content, flags=re.M)[1:]
    return {name: (hashed, text.strip()) for name, hashed, text in zip(*[iter(parts)] * 3, strict=True)}


def pairs(language: str, root: Path = PROJECT_ROOT) -> list[tuple[Path, Path]]:
    """Every English file with the file of its translation: notebooks, labs, and the pages of text."""
    folder = root / "notebooks"
    notebooks = [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("labs/*.ipynb"))]
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    pages = [
        page for page in pages if page.name not in ("glossary.md", "settings.md")
    ]  # all languages in one; made from the code
    return [(path, (folder / language / path.relative_to(folder)).with_suffix(".md")) for path in notebooks] + [
        (page, page.with_suffix(f".{language}.md")) for page in pages if not re.search(r"\.[a-z]{2}$", page.stem)
    ]


def _facts(text: str) -> Counter:
    """What must be the same in every language: code, formulas, links, numbers, and the shape of tables."""
    plain = CODE.sub("", text)
    links = [re.sub(r"\.[a-z]{2}\.md$", ".md", found[1]) for found in LINK.findall(plain)]
    prose = re.sub(r"\]\([^)]+\)|<[^>]+>", "", plain)
    rows = [f"|×{line.count('|')}" for line in prose.splitlines() if line.lstrip().startswith("|")]
    return Counter(CODE.findall(text) + links + re.findall(r"\d+(?:[.,]\d+)*", prose) + rows)


def terms(language: str, root: Path = PROJECT_ROOT) -> list[tuple[str, str]]:
    """(what a term is not called, what it is called), from the table of notebooks/LANGUAGE/terms.md."""
    lines = (root / "notebooks" / language / "terms.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line.startswith("|")][2:]
    return [(other.strip(), ours) for _, ours, others in rows for other in others.split(",") if other.strip()]


def faults(source: Path, target: Path, words: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """(block, what is wrong with it) for a translation; nothing when it says what the English says."""
    wanted, given = english(source, source.read_text(encoding="utf-8")), translated(target)
    found = [(name, "there is no such block in the English") for name in given if name not in wanted]
    if [name for name in given if name in wanted] != [name for name in wanted if name in given]:
        found.append(("", "the blocks stand in another order than in the English"))
    for name, text in wanted.items():
        if name in given:
            found += [(name, fault) for fault in _faults_of_block(text, *given[name], words)]
        else:
            found.append((name, f"not translated: <!-- {name} en:{fingerprint(text)} -->"))
    return found


def _faults_of_block(text: str, hashed: str, ours: str, words: Sequence[tuple[str, str]]) -> list[str]:
    """What is wrong with `ours`, the translation of `text` that had the fingerprint `hashed`."""
    there, here, prose = _facts(text), _facts(ours), CODE.sub("", ours)
    found = [] if hashed == fingerprint(text) else [f"the English has changed, it is en:{fingerprint(text)} now"]
    if ours == text and len(re.findall(r"\b[a-z]{3,}\b", prose)) > 3:
        found.append("still in English")
    found += [f"{fact!r} of the English is missing" for fact in there - here]
    # a number more is no fault: where English says "a minute", Korean writes 1분
    found += [f"{fact!r} is not in the English" for fact in here - there if not fact[0].isdigit()]
    return found + [f"{word!r} is called {usual!r} elsewhere" for word, usual in words if word in prose]


def build(language: str, root: Path = PROJECT_ROOT) -> list[Path]:
    """Write a language's notebooks: English code cells, its text (English where none is yet), QLORA_LANG set first."""
    import nbformat

    built = []
    for source, text in pairs(language, root):
        if source.suffix == ".ipynb" and text.exists():
            notebook, blocks, target = nbformat.read(source, 4), translated(text), text.with_suffix(".ipynb")

            def moved(found, source=source, target=target) -> str:
                """A link to what this language has not leads to the English file."""
                link, here = found[2].partition("#")[0], target.parent
                if re.match(r"\w+:|[#/]", found[2]) or (here / link).with_suffix(".md").exists():
                    return found[0]
                return found[1] + os.path.join(os.path.relpath(source.parent, here), found[2])

            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = LINK.sub(moved, blocks.get(cell.id, ("", cell.source))[1])
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
    parser.add_argument("command", choices=("build", "check", "todo"))
    parser.add_argument("language", nargs="?", default="ko")
    asked = parser.parse_args()
    command, language = asked.command, asked.language
    if command == "build":
        print(f"{len(build(language))} notebooks written to notebooks/{language}")
        return 0
    words, wrong = terms(language), 0
    for source, target in pairs(language):
        for name, fault in faults(source, target, words):
            wrong += 1
            print(f"{target.relative_to(PROJECT_ROOT)} {name}: {fault}")
            if command == "todo" and "has changed" in fault:
                print(change(source, name, translated(target)[name][0]))
    print(f"{wrong} to mend" if wrong else f"Every block says in {language!r} what the English says.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
