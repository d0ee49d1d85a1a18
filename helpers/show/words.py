"""What the code says, in the reader's language: a sentence is translated where it is made, before it is filled in.

    _("{rows} rows were read.").format(rows=rows)

The English sentence is the key; `locale/LANGUAGE/ROOM.po` has the other (gettext's format, a file for each folder of
helpers/). The language is QLORA_LANG. What came from data, a model or a person is filled in afterwards, as it is.
"""

from __future__ import annotations

import contextlib
import gettext
import io
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LOCALE = Path(__file__).parent.parent / "locale"
HEADING = "heading"  # gettext's context of the words above a column: "text" is a heading there, and a word elsewhere


def N_(sentence: str) -> str:
    """`sentence` as it is, marked for the catalogue: for constants, which are translated where they are shown."""
    return sentence


def _(sentence: str) -> str:
    """`sentence` in the language of QLORA_LANG, or as it is where the catalogue lacks it. Call it when it is shown."""
    return catalogue(language()).gettext(sentence) if sentence else ""


def heading(name: str) -> str:
    """The name of a column of ours, translated; see HEADING."""
    return catalogue(language()).pgettext(HEADING, name)


def language() -> str:
    """Two letters: those that QLORA_LANG begins with (ko, KO, ko_KR.UTF-8), else en."""
    return os.environ.get("QLORA_LANG", "").strip()[:2].lower() or "en"


@contextlib.contextmanager
def in_language(name: str) -> Iterator[None]:
    """Words that are made in the block are of this language: English in a file that others read, as a model card."""
    kept = os.environ.get("QLORA_LANG", "")
    os.environ["QLORA_LANG"] = name
    try:
        yield
    finally:
        os.environ["QLORA_LANG"] = kept


@cache
def catalogue(name: str) -> gettext.NullTranslations:
    """All sentences of a language; none for English, or for one that has no folder."""
    files = sorted((LOCALE / name).glob("*.po"))
    if not files:
        return gettext.NullTranslations()
    from babel.messages.catalog import Catalog
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    every, compiled = Catalog(locale=name), io.BytesIO()
    for file in files:
        for message in read_po(file.read_bytes().splitlines(), locale=name):
            if message.id:
                every.add(message.id, message.string, context=message.context)
    write_mo(compiled, every)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def write_hangul() -> bool:
    """Give charts a font with Hangul; False where the machine has none.

    The font is Nanum Gothic (Open Font License) out of a package; no code of that package runs.
    """
    from importlib.util import find_spec

    import matplotlib
    from matplotlib.font_manager import fontManager

    spec = find_spec("koreanize_matplotlib")
    for path in Path(spec.origin).parent.glob("fonts/NanumGothic*.ttf") if spec and spec.origin else ():
        fontManager.addfont(path)
    known = {font.name for font in fontManager.ttflist}
    ours = [name for name in ("NanumGothic", "Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans KR") if name in known]
    matplotlib.rcParams["font.family"] = ["DejaVu Sans", *ours]  # Hangul comes from the next: Nanum has no minus sign
    return bool(ours)
