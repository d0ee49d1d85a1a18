"""What is to be mended in a translation: blocks that are missing, stale, unsigned, or say something else.

`python -m helpers.translate check | todo | sign` calls `review`.
"""

from __future__ import annotations

import difflib
import re
import subprocess
from pathlib import Path

from docs.translation.drift import differences
from docs.translation.languages import Language, read_language
from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT
from helpers.translate import GLOSSARY, HEAD, english, fingerprint, messages, pairs, translated

NO_TABLES = Language()
UNREAD = "not signed as it is now: read it beside the English, then `sign`"


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


def catalogue_faults(language: str, words: Language, root: Path = PROJECT_ROOT) -> list[tuple[str, str, str]]:
    """(file, sentence, what its translation says otherwise) of the lines that the code prints."""
    return [
        (f"helpers/locale/{language}/{file}", message.id[:60], fault)
        for file, message in messages(language, root)
        for fault in differences(message.id, message.string, words, short=True)
    ]


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


def review(command: str, language: str) -> int:
    """Print what is to be mended, with `todo` the change of the English as well; 1 when there is any, else 0.

    `sign` first signs what was read and says what the English says.
    """
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
