"""Tables and answers for a notebook: everything shown as HTML is escaped, since data is text from strangers."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup

from helpers.show.pages import render_page
from helpers.show.words import _, heading

# letters of a line, a Korean syllable is two: up to SHORT a column keeps its width, with more than LONG it is text
SHORT, LONG, WHOLE = 16, 30, 50  # and with WHOLE it has a full share of the width
INTERVAL = r"\([-+\d.,%]+(?: to |에서 )[-+\d.,%]+\)"  # stays on one line; other words are left as they are
# MathJax leaves what stands in such a box as it is, in JupyterLab (mathjax_ignore) and in saved pages (tex2jax_ignore)
UNTYPESET = "mathjax_ignore tex2jax_ignore"
GREEN, RED, GREY, BLUE, ORANGE = "#1a7f37", "#cf222e", "#6e7781", "#0969da", "#bc4c00"


def as_written(body: str) -> str:
    """HTML whose text came from data, a model or a person, so that `$5 or $6` is not taken for a formula."""
    return f'<div class="{UNTYPESET}">{body}</div>'


class Judged(NamedTuple):
    """A cell with a text of its own that is marked as good or bad."""

    text: str
    good: bool

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """Rows (dicts with the same keys) as an HTML table in a notebook and as aligned text elsewhere.

    A cell that is True or False is shown as "ok" with a green mark or "no" with a red one; a float with 4 significant
    digits. The names of the columns are translated, values never: a row says `_("better")` itself. `foreign` names the
    columns that somebody's data brought, whose names are not ours to translate.
    """

    rows: list[dict]
    caption: str = ""
    columns: list[str] = field(default_factory=list)
    foreign: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """The columns, in their order."""
        return self.columns or (list(self.rows[0]) if self.rows else [])

    def _heading(self, name: str) -> str:
        return name if name in self.foreign else heading(name)

    def _repr_html_(self) -> str:
        heads = [(self._heading(name), width) for name, width in self._widths().items()]
        rows = [[_html_cell(row.get(name, "")) for name in self.names()] for row in self.rows]
        texts = any(width for _name, width in heads)
        return as_written(render_page("table.html.j2", caption=self.caption, heads=heads, rows=rows, texts=texts))

    __html__ = _repr_html_  # for templates

    def _widths(self) -> dict[str, str]:
        """Beside several texts, columns share the width by their lines, so that none squeezes the others: alike from
        WHOLE letters on. Short ones keep theirs."""
        lines = {
            name: max((room(line) for row in self.rows for line in _text(row.get(name, "")).split("\n")), default=0)
            for name in self.names()
        }
        texts = sum(longest > LONG for longest in lines.values())
        if not texts:
            return dict.fromkeys(lines, "")
        shares = {name: min(longest, WHOLE) for name, longest in lines.items() if longest > SHORT and texts > 1}
        wide = {name: f"width:{100 * share / sum(shares.values()):.0f}%" for name, share in shares.items()}
        return {name: f"min-width:{0.6 * min(longest, SHORT):.1f}em" for name, longest in lines.items()} | wide

    def __repr__(self) -> str:
        names = self.names()
        cells = [[*map(self._heading, names)], *([_text(row.get(name, "")) for name in names] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        return "\n".join([self.caption, *lines] if self.caption else lines)


@dataclass(frozen=True)
class Answer:
    """What the check of an exercise or a lab says: a sentence, green when solved, grey while something is missing."""

    solved: bool
    sentence: str

    def _repr_html_(self) -> str:
        colour, word = (GREEN, _("Solved.")) if self.solved else (GREY, _("Not yet."))
        style = f"border-left:4px solid {colour};padding:4px 12px;margin:4px 0"
        return as_written(f'<div style="{style}"><b>{html.escape(word)}</b> {html.escape(self.sentence)}</div>')

    def __repr__(self) -> str:
        return f"{_('Solved.') if self.solved else _('Not yet.')} {self.sentence}"


def room(line: str) -> int:
    """The width of `line` in letters: a syllable of Korean is about two of them wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


def _text(value) -> str:
    if value is True or value is False:
        return _("ok") if value else _("no")
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _html_cell(value) -> Markup:
    # a long run without a blank (a model that repeats one sign) may be broken, or it pushes the other columns away
    text = html.escape(re.sub(r"(\S{30})", "\\1\0", _text(value))).replace("\0", "<wbr>")
    text = Markup(re.sub(INTERVAL, r'<span style="white-space:nowrap">\g<0></span>', text))
    if value is True or value is False or isinstance(value, Judged):
        good = value.good if isinstance(value, Judged) else value
        # the word in the page's own ink, which can be read in every theme, beside a mark of colour
        style = f"border-left:5px solid {GREEN if good else RED};padding-left:6px;white-space:nowrap"
        return Markup(f'<b style="{style}">{text}</b>')
    return text
