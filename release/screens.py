"""A terminal's screen as SVG, dark or light as its reader's is."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import NamedTuple

import pyte
from pyte.screens import Char

WIDTH, HEIGHT, PAD = 8.4, 19, 14
"""Of a cell, and around the screen, in pixels."""

STYLE = """
text { font: 14px ui-monospace, Menlo, Consolas, monospace; white-space: pre }
.bold { font-weight: bold } .italics { font-style: italic } .faint { opacity: .65 }
.underscore { text-decoration: underline }
.paper { fill: #0d1117 } .default { fill: #e6edf3 } .brightblack { fill: #8b949e }
.red { fill: #ff7b72 } .green { fill: #7ee787 } .brown { fill: #e3b341 }
.blue { fill: #79c0ff } .magenta { fill: #d2a8ff } .cyan { fill: #76e3ea }
@media (prefers-color-scheme: light) {
  .paper { fill: #f6f8fa } .default { fill: #1f2328 } .brightblack { fill: #6e7781 }
  .red { fill: #cf222e } .green { fill: #116329 } .brown { fill: #7d4e00 }
  .blue { fill: #0550ae } .magenta { fill: #8250df } .cyan { fill: #1b7c83 }
}
"""


class Look(NamedTuple):
    """The classes of cells that look alike: of their text and of what is behind it, if anything."""

    text: str
    back: str


class Screen(pyte.Screen):
    """A screen whose lines can be drawn."""

    def select_graphic_rendition(self, *attrs: int, **private: bool) -> None:
        """With blinking in place of faint text, which pyte does not know."""
        swapped = attrs if {38, 48} & {*attrs} else [{2: 5, 22: 25}.get(a, a) for a in attrs]
        super().select_graphic_rendition(*attrs, **private)
        super().select_graphic_rendition(*(a for a in swapped if a), **private)

    def drawing(self) -> tuple[str, ...]:
        """Each line as SVG, with the cursor where it shows."""
        rows = [[self.buffer[y][x] for x in range(self.columns)] for y in range(self.lines)]
        if not self.cursor.hidden:
            y, x = self.cursor.y, min(self.cursor.x, self.columns - 1)
            rows[y][x] = rows[y][x]._replace(reverse=True)
        return tuple(map(drawn, rows))


def look(cell: Char) -> Look:
    """How a cell looks."""
    if cell.reverse:
        return Look("paper", cell.fg)
    kinds = [kind for kind in ("bold", "italics", "underscore") if getattr(cell, kind)]
    text = " ".join([*kinds, *(["faint"] if cell.blink else []), cell.fg])
    return Look(text, "" if cell.bg == "default" else cell.bg)


def drawn(cells: list[Char]) -> str:
    """A line as SVG, by runs of cells that look alike."""
    parts, column = [], 0
    for style, run in groupby(cells, look):
        text = "".join(cell.data for cell in run)
        if style.back:
            size = f'width="{len(text) * WIDTH:.1f}" height="{HEIGHT}"'
            parts.append(f'<rect x="{column * WIDTH:.1f}" {size} class="{style.back}"/>')
        if shown := text.strip():
            left = column + len(text) - len(text.lstrip())
            place = f'x="{left * WIDTH:.1f}" y="14" textLength="{len(shown) * WIDTH:.1f}"'
            parts.append(f'<text {place} class="{style.text}">{escape(shown)}</text>')
        column += len(text)
    return "".join(parts)


def picture(title: str, n_columns: int, n_rows: int, style: str, body: list[str]) -> str:
    """A screen's paper with `body` on it, whose origin is the paper's corner."""
    wide, high = n_columns * WIDTH + 2 * PAD, n_rows * HEIGHT + 2 * PAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.1f} {high}" role="img">',
        f"<title>{title}</title><style>{STYLE}{style}</style>",
        '<rect width="100%" height="100%" rx="8" class="paper"/>',
    ]
    return "\n".join([*parts, *body, "</svg>\n"])
