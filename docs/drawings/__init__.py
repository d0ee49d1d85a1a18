"""The drawings of the notebooks: hand-placed shapes, computed numbers. `python -m docs.drawings` makes them all.

paper          colours, shapes, words
token_shift    which guess is compared with which label
lora           a small branch beside a frozen matrix, to scale
nf4            16 levels on the bell curve
checkpointing  what is kept, what is computed again
merges         what three merges do to one weight
series_map     which notebook writes and reads which file
result         what a run changed, from its evaluation.json; made with the gallery
"""

from __future__ import annotations

from importlib import import_module

from docs.drawings.paper import Drawing
from helpers.paths import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "notebooks" / "drawings"
NAMES = ("token_shift", "lora", "nf4", "checkpointing", "merges", "series_map")


def drawings() -> list[Drawing]:
    """Every drawing, made now."""
    return [import_module(f"docs.drawings.{name}").draw() for name in NAMES]
