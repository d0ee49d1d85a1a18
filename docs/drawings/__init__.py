"""The drawings of the notebooks: hand-placed shapes, computed numbers. `python -m docs.drawings` makes them all, in
each language that has helpers/locale/LANGUAGE/drawings.po.

paper          colours, shapes, words
token_shift    which guess is compared with which label
lora           a small branch beside a frozen matrix, to scale
nf4            16 levels on the bell curve
checkpointing  what is kept, what is computed again
merges         what three merges do to one weight
series_map     which notebook writes and reads which file
here           where a page stands in the series, one for each page
paired         two models on the same rows
interval       one share, more and more rows
blind_vote     who wrote which reply is opened after the click
file_size      the demo's files, size against loss
forks          what a change leaves valid
influence      where one row pulls
reward         four replies and what each is worth
five_words     token, adapter, loss, held out, merge: those of the first look
result         what a run changed, from its evaluation.json; made with the gallery
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from docs.drawings import here
from docs.drawings.paper import Drawing
from helpers.paths import PROJECT_ROOT
from helpers.show.words import LOCALE, in_language

LANGUAGES = ("en", *sorted(path.parent.name for path in LOCALE.glob("*/drawings.po")))
SHEETS = (
    *("token_shift", "lora", "nf4", "checkpointing", "merges", "series_map"),
    *("paired", "interval", "blind_vote", "file_size", "forks", "influence", "reward", "five_words"),
)
NAMES = (*SHEETS, *(f"here_{page}" for page in here.PAGES))


def folder(language: str) -> Path:
    """Where the drawings of a language lie: beside its pages."""
    pages = PROJECT_ROOT / "notebooks"
    return (pages if language == "en" else pages / language) / "drawings"


def drawings(language: str = "en") -> list[Drawing]:
    """Every drawing, made now."""
    with in_language(language):
        sheets = [import_module(f"docs.drawings.{name}").draw() for name in SHEETS]
        return sheets + [here.draw(page) for page in here.PAGES]
