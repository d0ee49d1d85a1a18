"""Progress of a loop: one line on the page that is replaced in place, and is gone at the end.

It is plain HTML, no widget: a page that is loaded again, or a saved copy, shows what stood there. Elsewhere it is a line on
stdout. In a notebook the bars of the libraries (downloads, "Loading weights", maps of data sets) are of this kind too.
"""

from __future__ import annotations

import html
import io
import sys

from tqdm import std

from helpers.report import human_time

DELAY = 5  # seconds: what is done sooner needs no bar


class Progress(std.tqdm):
    """As `tqdm.tqdm`, with its arguments; it shows nothing in the first DELAY seconds, and leaves nothing behind."""

    monitor_interval = 0  # no thread of its own that writes into another cell's output

    def __init__(self, *args, **settings):
        self.on_page, self.shown = in_notebook(), None
        settings |= {"delay": DELAY, "leave": False, "file": io.StringIO() if self.on_page else sys.stdout}
        super().__init__(*args, **settings)

    def display(self, msg=None, pos=None):
        """Called by tqdm for each new state; with msg="" at the end."""
        if not self.on_page:
            return super().display(msg, pos)
        from IPython.display import display

        line = {"text/html": "" if msg == "" else self._line(), "text/plain": ""}
        if self.shown is None:
            self.shown = display(line, raw=True, display_id=True)
        else:
            self.shown.update(line, raw=True)

    def _line(self) -> str:
        name, unit = self.desc.removesuffix(": ") or "progress", "" if self.unit == "it" else f" {self.unit.strip()}"
        if not self.total:
            return f"{html.escape(name)}: {self.n:,}{unit}"
        spent = self.format_dict["elapsed"]
        left = f", {human_time(spent / self.n * (self.total - self.n))} left" if self.n else ""
        said = f"{html.escape(name)}: {self.n:,} of {self.total:,}{unit}{left}"
        bar = f'<progress max="{self.total}" value="{self.n}" aria-label="{html.escape(name)}"></progress>'
        return f"<div>{bar} {said}</div>"


def in_notebook() -> bool:
    """True in a Jupyter kernel."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def bars_without_widgets() -> None:
    """From here on, tqdm gives a library in this kernel the bar above, where it would have taken a widget.

    A widget needs the same release in the server and in the kernel, and says "Error displaying widget" after a reload.
    A library that was imported before keeps its own.
    """
    from tqdm import notebook

    notebook.tqdm = Progress
