"""This kernel, made ready for a reader: `setup()` in the cell of each notebook that begins after a restart."""

from __future__ import annotations

import logging
import warnings

from helpers.show.progress import bars_without_widgets
from helpers.show.words import language, write_hangul


def setup() -> None:
    """Once per kernel: bars that are plain HTML, charts with the reader's letters, no warnings that mean nothing."""
    # bitsandbytes misses an optional CPU kernel on the hub; peft asks a model by a name that transformers has changed
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=r"`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    bars_without_widgets()
    if language() == "ko":
        write_hangul()


def is_interactive() -> bool:
    """True when a person runs this cell in a browser; False under papermill or in a script: a login would hang."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    # JupyterLab says with each cell that it can ask the user for input; papermill says that it cannot
    return bool(kernel) and bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))
