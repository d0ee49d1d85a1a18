"""A model's head at the positions that are asked for alone: with a large vocabulary it costs more than the layers."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

ASKED = threading.local()  # what the pass of this thread asks of a model, whose hooks look here


@contextlib.contextmanager
def asking(**of_the_pass) -> Iterator[None]:
    """One pass of this thread: `labelled` (rows, tokens) for the hook below, and what others ask of theirs."""
    vars(ASKED).update(of_the_pass)
    try:
        yield
    finally:
        vars(ASKED).clear()


def labelled_alone(head, args) -> tuple[torch.Tensor] | None:
    """Forward pre-hook of a head: what `labelled` names of its input (rows, tokens, width), as (labelled, width).

    Asked once a pass: a model that a second trainer has got holds the hook twice.
    """
    labelled = vars(ASKED).pop("labelled", None)
    return None if labelled is None else (args[0][labelled],)
