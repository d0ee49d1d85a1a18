"""What the code says, in the reader's language: the English sentence is the key, `locale/LANGUAGE.po` has the other.

The language is QLORA_LANG. The catalogue is gettext's, in Python's brace format: `{0}`, `{1}` stand for what a sentence
was filled with, in English order, so that finished text is translated where it is shown (tables, printed lines, errors,
charts) and no sentence has to be taken apart where it is made. Files on the disk keep their English.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "locale"


@cache
def _catalogue(language: str) -> tuple[dict[str, str], list[tuple[re.Pattern, str]]]:
    """Plain sentences, and patterns of those with something filled in; both empty for English."""
    path = FOLDER / f"{language}.po"
    if not language or not path.exists():
        return {}, []
    from babel.messages.pofile import read_po

    with path.open("rb") as file:
        entries = {message.id: message.string for message in read_po(file) if message.id and message.string}
    plain = {english: ours for english, ours in entries.items() if not re.search(r"\{\d\}", english)}
    patterns = []
    # the longest first: a sentence before a part of it
    for english in sorted(entries.keys() - plain.keys(), key=len, reverse=True):
        parts = re.split(r"\{(\d)\}", english)
        fixed = [f"(?P<v{part}>.*?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)]
        patterns.append((re.compile("".join(fixed)), entries[english]))
    return plain, patterns


def told(text: str) -> str:
    """`text` in the language of QLORA_LANG, by lines and sentences where the whole is not known; what is unknown stays."""
    plain, patterns = _catalogue(os.environ.get("QLORA_LANG", ""))
    if not plain and not patterns or not text.strip():
        return text
    if text.strip() in plain:
        return text.replace(text.strip(), plain[text.strip()])
    for pattern, ours in patterns:
        if found := pattern.fullmatch(text.strip()):
            values = {int(name[1:]): told(value) for name, value in found.groupdict().items()}
            return text.replace(text.strip(), ours.format(*(values[i] for i in range(len(values)))))
    if "\n" in text.strip():
        return "".join(map(told, text.splitlines(keepends=True)))
    if text.startswith("- "):
        return "- " + told(text[2:])
    sentences = re.split(r"(?<=[.:!?]) (?=[A-Z])", text)
    if len(sentences) > 1:
        return " ".join(map(told, sentences))
    return told(text[:-1]) + "." if text.endswith(".") else text  # a part that a sentence was made of


def tell_figure(figure) -> None:
    """Let the words of a matplotlib figure follow QLORA_LANG: titles, labels, legends, notes, names along an axis."""
    if not os.environ.get("QLORA_LANG"):
        return
    from matplotlib.ticker import FixedLocator

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_locator(), FixedLocator):  # names that a chart gave; numbers have another
                axis.set_ticklabels([told(name.get_text()) for name in axis.get_ticklabels()])
    for words in figure.findobj(lambda part: hasattr(part, "set_text")):
        words.set_text(told(words.get_text()))


def speak() -> None:
    """Let this kernel's printed lines and errors, and the letters of its charts, follow QLORA_LANG. Once per kernel."""
    from IPython import get_ipython

    shell = get_ipython()
    if not os.environ.get("QLORA_LANG") or not hasattr(sys.stdout, "register_hook"):
        return

    def line(message: dict) -> dict:
        message["content"]["text"] = told(message["content"]["text"])
        return message

    def error(shell, kind, value, traceback, tb_offset=None):
        value.args = tuple(told(arg) if isinstance(arg, str) else arg for arg in value.args)
        shell.showtraceback((kind, value, traceback), tb_offset=tb_offset)

    sys.stdout.pub_thread.schedule(lambda: sys.stdout.register_hook(line))  # hooks belong to the thread that sends
    shell.set_custom_exc((ValueError, RuntimeError, OSError, AssertionError), error)
    write_hangul()


def write_hangul() -> bool:
    """Give charts a font with Hangul; False where the machine has none.

    The font is Nanum Gothic (Open Font License) out of a package; no code of that package runs.
    """
    from importlib.util import find_spec

    import matplotlib
    from matplotlib.font_manager import fontManager

    found = find_spec("koreanize_matplotlib")
    for path in Path(found.origin).parent.glob("fonts/NanumGothic*.ttf") if found else ():
        fontManager.addfont(path)
    known = {font.name for font in fontManager.ttflist}
    ours = [name for name in ("NanumGothic", "Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans KR") if name in known]
    matplotlib.rcParams["font.family"] = [*ours, "sans-serif"]
    matplotlib.rcParams["axes.unicode_minus"] = False
    return bool(ours)
