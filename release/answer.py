"""Draws an answer in a terminal as a picture, dark or light as its reader's screen is:
`python release/answer.py`. The answer streams through a pseudo-terminal, a word at a time."""

from __future__ import annotations

import os
import pty
import struct
import sys
from fcntl import ioctl
from html import escape
from itertools import groupby
from pathlib import Path
from termios import TIOCSWINSZ

import pyte
from pyte.screens import Char

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "answer.svg"
COLUMNS, ROWS = 72, 40

ANSWER = '''\
# Reading a text file

The shortest way is **`Path.read_text`** from `pathlib`, which also *closes* the file. Note:

1. Name the **encoding**: the default depends on the machine.
   - `utf-8` is nearly always right.
2. Go line by line where a file is large: `with path.open() as file: for line in file: ...`

```python
from pathlib import Path

def first_line(path: Path, default: str = "") -> str:
    """The first line of a file."""
    try:
        with path.open(encoding="utf-8") as file:
            return next(file, default).rstrip("\\n")
    except FileNotFoundError:
        return default  # there is none
```

| Call | Returns | When to use it |
|:-----|:-------:|:---------------|
| `read_text()` | `str` | small files that are text |
| `read_bytes()` | `bytes` | anything that is **not** text, as pictures are |

> A file that opens on your machine may not on another.
'''

SAY = """
import re, sys
from qrt.cli.output import AnswerWriter
writer = AnswerWriter(sys.stdout)
for piece in re.findall(r"\\s*\\S+|\\s+$", sys.argv[1]):
    writer.write(piece)
writer.end()
"""

WIDTH, HEIGHT, PAD = 8.4, 19, 14
STYLE = """
text { font: 14px ui-monospace, Menlo, Consolas, monospace; white-space: pre; fill: #e6edf3 }
.bold { font-weight: bold } .italics { font-style: italic }
.underscore { text-decoration: underline }
.paper { fill: #0d1117 } .brightblack { fill: #8b949e } .green { fill: #7ee787 }
.magenta { fill: #d2a8ff } .cyan { fill: #76e3ea }
@media (prefers-color-scheme: light) {
  text { fill: #1f2328 } .paper { fill: #f6f8fa } .brightblack { fill: #6e7781 }
  .green { fill: #116329 } .magenta { fill: #8250df } .cyan { fill: #1b7c83 }
}
"""


def sent() -> bytes:
    """What a terminal is sent for the answer."""
    child, terminal = pty.fork()
    if child == 0:
        ioctl(0, TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "", "CLICOLOR": ""}
        os.execvpe(sys.executable, [sys.executable, "-c", SAY, ANSWER], environment)
    parts = []
    try:
        while part := os.read(terminal, 1 << 16):
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    os.waitpid(child, 0)
    return b"".join(parts)


def look(cell: Char) -> str:
    """The classes of a cell."""
    kinds = [kind for kind in ("bold", "italics", "underscore") if getattr(cell, kind)]
    return " ".join([*kinds, *([cell.fg] if cell.fg != "default" else [])])


def drawn(cells: list[Char], y: int) -> str:
    """A line as SVG, by runs of cells that look alike."""
    parts, column = [], 0
    for classes, run in groupby(cells, look):
        text = "".join(cell.data for cell in run)
        if shown := text.strip():
            left = column + len(text) - len(text.lstrip())
            place = f'x="{PAD + left * WIDTH:.1f}" y="{PAD + y * HEIGHT + 14}"'
            length = f'textLength="{len(shown) * WIDTH:.1f}"'
            parts.append(f'<text {place} {length} class="{classes}">{escape(shown)}</text>')
        column += len(text)
    return "".join(parts)


def main() -> None:
    screen = pyte.Screen(COLUMNS, ROWS)
    pyte.ByteStream(screen).feed(sent().replace(b"\x1b[2m", b"\x1b[90m"))  # pyte has no dim
    n_rows = screen.cursor.y
    lines = [drawn([screen.buffer[y][x] for x in range(COLUMNS)], y) for y in range(n_rows)]
    wide, high = COLUMNS * WIDTH + 2 * PAD, n_rows * HEIGHT + 2 * PAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.1f} {high}" role="img">',
        f"<title>An answer in a terminal</title><style>{STYLE}</style>",
        '<rect width="100%" height="100%" rx="8" class="paper"/>',
        *filter(None, lines),
    ]
    PICTURE.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")
    print(f"{PICTURE}: {n_rows} rows, {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
