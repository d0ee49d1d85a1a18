"""Progress of a loop: one line on the page that is replaced in place, and is gone at the end.

It is plain HTML, no widget: a page that is loaded again, or a saved copy, shows what stood there. Elsewhere it is a
line on stdout. In a notebook the bars of the libraries (downloads, weights, maps of data sets) are of this kind too.
"""

from __future__ import annotations

import html
import io
import sys

from tqdm import std

from helpers.show.units import human_bytes, human_time
from helpers.show.words import _

DELAY = 5  # seconds: what is done sooner needs no bar


class Progress(std.tqdm):
    """As `tqdm.tqdm`, with its arguments; it shows nothing in the first DELAY seconds, and leaves nothing behind."""

    monitor_interval = 0  # no thread of its own that writes into another cell's output

    def __init__(self, *args, **settings):
        self.on_page, self.shown = in_notebook(), None
        if self.on_page and settings.get("disable") is None:  # the hub's way to say: unless the output is a file
            settings["disable"] = False
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
        name, unit = html.escape(self.desc.removesuffix(": ") or "progress"), self.unit.strip()
        written = human_bytes if unit == "B" else "{:,}".format
        unit = "" if unit in ("it", "B") else f" {html.escape(unit)}"
        if not self.total:
            return f"<div>{name}: {written(self.n)}{unit}</div>"
        done, spent = self.n - self.initial, self.format_dict["elapsed"]
        left = ""
        if done > 0:
            left = _(", {time} left").format(time=human_time(spent / done * (self.total - self.n)))
        bar = f'<progress max="{self.total}" value="{self.n}" aria-label="{name}"></progress>'
        share = _("{done} of {total}").format(done=written(self.n), total=written(self.total))
        return f"<div>{bar} {name}: {share}{unit}{left}</div>"


def in_notebook() -> bool:
    """True in a Jupyter kernel."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def bars_without_widgets() -> None:
    """From here on, tqdm gives a library in a kernel the bar above, where it would have taken a widget.

    A widget needs the same release in the server and in the kernel, and says "Error displaying widget" after a reload.
    A library that was imported before keeps its own, but for transformers, which asks tqdm.auto anew for each bar.
    """
    if in_notebook():
        from tqdm import notebook

        notebook.tqdm = Progress
        from tqdm import auto  # takes what stands in `notebook`, unless somebody has imported it before

        auto.tqdm = Progress
