"""Draws an answer in a terminal as a picture, dark or light as its reader's screen is:
`python release/answer.py`. The answer streams through a pseudo-terminal, a word at a time."""

from __future__ import annotations

import os
import pty
import struct
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pyte
from screens import HEIGHT, PAD, Screen, picture

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
    whole = b"".join(parts)
    if os.waitpid(child, 0)[1]:
        sys.exit(whole.decode())
    return whole


def main() -> None:
    screen = Screen(COLUMNS, ROWS)
    pyte.ByteStream(screen).feed(sent())
    screen.cursor.hidden = True
    lines = screen.drawing()[: screen.cursor.y]
    body = [
        f'<g transform="translate({PAD} {PAD + y * HEIGHT})">{line}</g>'
        for y, line in enumerate(lines)
        if line
    ]
    svg = picture("An answer in a terminal", COLUMNS, len(lines), "", body)
    PICTURE.write_text(svg, encoding="utf-8")
    print(f"{PICTURE}: {len(lines)} rows, {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
