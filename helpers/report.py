"""Tables and answers for a notebook: everything shown as HTML is escaped, since data is text from strangers."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

from helpers.language import told

LONG = 30  # characters of a line: a column with a longer one is text
GREEN, RED, GREY, BLUE, ORANGE = "#1a7f37", "#cf222e", "#6e7781", "#0969da", "#bc4c00"


@dataclass(frozen=True)
class Table:
    """Rows (dicts with the same keys) as an HTML table in a notebook and as aligned text elsewhere.

    A cell that is True or False is shown as "ok" with a green mark or "no" with a red one; a float with 4 significant digits.
    """

    rows: list[dict]
    caption: str = ""
    columns: list[str] = field(default_factory=list)

    def _names(self) -> list[str]:
        return self.columns or (list(self.rows[0]) if self.rows else [])

    def _repr_html_(self) -> str:
        names = self._names()
        style = "text-align:left;vertical-align:top;padding:4px 12px;white-space:pre-wrap;overflow-wrap:break-word;min-width:1.5em"
        widths = self._widths()
        head = "".join(
            f'<th style="{style};overflow-wrap:normal;{widths[name]}">{html.escape(told(name))}</th>' for name in names
        )
        body = "".join(
            "<tr>" + "".join(f'<td style="{style}">{_html_cell(row.get(name, ""))}</td>' for name in names) + "</tr>"
            for row in self.rows
        )
        # not a <caption>: that is never wider than its table, so a long one stood in a column of single words
        caption = f'<div style="padding:4px 12px">{html.escape(told(self.caption))}</div>'
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        # a table that is wider than the page scrolls by itself
        return f'{caption if self.caption else ""}<div style="overflow-x:auto">{table}</div>'

    def _widths(self) -> dict[str, str]:
        """Columns of texts share the width evenly, so that one that runs on does not squeeze the others; short ones keep theirs."""
        lines = {
            name: max((len(line) for row in self.rows for line in _text(row.get(name, "")).split("\n")), default=0)
            for name in self._names()
        }
        texts = [name for name, longest in lines.items() if longest > LONG]
        if not texts:
            return dict.fromkeys(lines, "")
        short = {name: f"min-width:{0.6 * min(longest, 16):.1f}em" for name, longest in lines.items()}
        return short | (dict.fromkeys(texts, f"width:{100 / len(texts):.0f}%") if len(texts) > 1 else {})

    def __repr__(self) -> str:
        names = self._names()
        cells = [[*map(told, names)], *([_text(row.get(name, "")) for name in names] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        return "\n".join([told(self.caption), *lines] if self.caption else lines)


@dataclass(frozen=True)
class Answer:
    """What the check of an exercise or a lab says: one sentence, green when it is solved, orange while something is missing."""

    solved: bool
    sentence: str

    def _repr_html_(self) -> str:
        colour, word = (GREEN, "Solved.") if self.solved else (ORANGE, "Not yet.")
        style = f"border-left:4px solid {colour};padding:4px 12px;margin:4px 0"
        return f'<div style="{style}"><b>{told(word)}</b> {html.escape(told(self.sentence))}</div>'

    def __repr__(self) -> str:
        return f"{told('Solved.' if self.solved else 'Not yet.')} {told(self.sentence)}"


def _text(value) -> str:
    if value is True or value is False:
        return told("ok" if value else "no")
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else told(str(value))


def _html_cell(value) -> str:
    # a long run without a blank (a model that repeats one sign) may be broken, or it pushes the other columns off the page
    text = html.escape(re.sub(r"(\S{30})", "\\1\0", _text(value))).replace("\0", "<wbr>")
    if value is True or value is False:
        # the word in the page's own ink, which can be read in every theme, beside a mark of colour
        style = f"border-left:5px solid {GREEN if value else RED};padding-left:6px;white-space:nowrap"
        return f'<b style="{style}">{text}</b>'
    return text


def human_bytes(count: float) -> str:
    """`count` bytes with a decimal unit: 93 MB, 13.5 GB (1 GB = 10^9 bytes)."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1000


def human_time(seconds: float) -> str:
    """`seconds` as people say it: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def is_interactive() -> bool:
    """True when a person runs this cell in a browser; False under papermill or in a script, where a login would hang."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    # JupyterLab says with each cell that it can ask the user for input; papermill says that it cannot
    return bool(kernel) and bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))
