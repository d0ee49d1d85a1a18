"""One sheet of paper: shapes and words as SVG, in colours that are readable on a light and on a dark page.

A drawing brings its own soft background, since JupyterLab's dark theme does not tell a picture that the page is dark;
where the browser does, background and colours change together. No colour is the only sign of anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from math import atan2, cos, sin

# name: light, dark. The first of a pair is for lines and words, its wash for areas behind words in `ink`.
COLOURS = {
    "paper": ("#fbfaf7", "#1f242c"),
    "ink": ("#1f2328", "#e9edf2"),
    "soft": ("#59616b", "#a9b3be"),
    "rule": ("#d5d2c9", "#454d57"),
    "blue": ("#0b5cad", "#7ab8f5"),
    "blue-wash": ("#dfecf9", "#21374e"),
    "green": ("#1a7f37", "#6fcf85"),
    "green-wash": ("#dcf1e0", "#1f3f2b"),
    "orange": ("#b04a00", "#f2a261"),
    "orange-wash": ("#fce9d8", "#4a3018"),
    "red": ("#c21f2b", "#ff8f87"),
}
SANS = (
    "system-ui,-apple-system,'Segoe UI','Noto Sans','Noto Sans CJK KR','Apple SD Gothic Neo','Malgun Gothic',sans-serif"
)
MONO = "ui-monospace,'SF Mono','Cascadia Mono','DejaVu Sans Mono','Noto Sans Mono CJK KR',monospace"
WIDTH, SIDE = 960, 36  # of every drawing, and its margin, in the unit in which 18 is the usual height of letters


def _style(shade: int) -> str:
    fills = "".join(f".{name}{{fill:{pair[shade]}}}" for name, pair in COLOURS.items())
    return fills + "".join(f".{name}-line{{stroke:{pair[shade]}}}" for name, pair in COLOURS.items())


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass
class Drawing:
    """A sheet of WIDTH x `height`; `alt` says in words what is seen. Shapes lie in the order in which they are
    drawn."""

    name: str
    alt: str
    height: int
    parts: list[str] = field(default_factory=list)

    def text(self, x, y, words, size=18, colour="ink", anchor="start", bold=False, mono=False):
        """`words` with their baseline at y; `anchor` is start, middle or end. **Bold** is a run in two stars."""
        look = f'class="{colour}{" mono" if mono else ""}" font-size="{size}" text-anchor="{anchor}"'
        inner = "".join(
            f'<tspan font-weight="700">{escape(run)}</tspan>' if odd % 2 else escape(run)
            for odd, run in enumerate(str(words).split("**"))
        )
        weight = ' font-weight="700"' if bold else ""
        self.parts.append(f'<text x="{_n(x)}" y="{_n(y)}" {look}{weight}>{inner}</text>')

    def head(self, title, under=""):
        """The title, and a line below it."""
        self.text(SIDE, 52, title, 26, bold=True)
        if under:
            self.text(SIDE, 84, under, 18, "soft")

    def lines(self, x, y, rows, size=18, gap=1.4, **look):
        """Several rows of words, one below the other."""
        for i, row in enumerate(rows):
            self.text(x, y + i * gap * size, row, size, **look)

    def box(self, x, y, width, height, fill="paper", line="", radius=8, thick=2, dashed=False):
        """A rectangle; without `line`, only an area."""
        stroke = f' class="{fill} {line}-line" stroke-width="{thick}"' if line else f' class="{fill}"'
        dash = ' stroke-dasharray="6 5"' if dashed else ""
        size = f'width="{_n(width)}" height="{_n(height)}" rx="{radius}"'
        self.parts.append(f'<rect x="{_n(x)}" y="{_n(y)}" {size}{stroke}{dash}/>')

    def circle(self, x, y, radius, fill="paper", line="", thick=3):
        stroke = f' class="{fill} {line}-line" stroke-width="{thick}"' if line else f' class="{fill}"'
        self.parts.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"{stroke}/>')

    def path(self, points, colour="ink", thick=2, dashed=False, arrow=False, fill=""):
        """A line through `points`, with an arrow's head at its end; `fill` closes it to an area."""
        points = list(points)
        if arrow:
            (x1, y1), (x2, y2) = points[-2:]
            turn, size = atan2(y2 - y1, x2 - x1), 5 + 2.5 * thick
            wings = [(x2 - size * cos(turn + a), y2 - size * sin(turn + a)) for a in (0.45, -0.45)]
            points[-1] = (x2 - 0.7 * size * cos(turn), y2 - 0.7 * size * sin(turn))
        shape = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        if fill:
            self.parts.append(f'<path d="{shape}Z" class="{fill}"/>')
        else:
            dash = ' stroke-dasharray="5 5"' if dashed else ""
            look = f'fill="none" stroke-width="{thick}" stroke-linecap="round" stroke-linejoin="round"'
            self.parts.append(f'<path d="{shape}" class="{colour}-line" {look}{dash}/>')
        if arrow:
            head = " ".join(f"{_n(x)},{_n(y)}" for x, y in [(x2, y2), *wings])
            self.parts.append(f'<polygon points="{head}" class="{colour}"/>')

    def svg(self) -> str:
        """The file: it needs nothing else, and is the same whenever it is made."""
        size = f'viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" height="{self.height}"'
        style = f"text{{font-family:{SANS}}}.mono{{font-family:{MONO}}}{_style(0)}"
        style += f"@media (prefers-color-scheme:dark){{{_style(1)}}}"
        sheet = f'<rect width="{WIDTH}" height="{self.height}" rx="14" class="paper"/>'
        head = f"<title>{escape(self.alt)}</title>\n<style>{style}</style>"
        opened = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        return "\n".join([opened, head, sheet, *self.parts, "</svg>"]) + "\n"
