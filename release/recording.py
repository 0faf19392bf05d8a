"""Records a chat in a terminal as an animated picture: `python release/recording.py`.

A shell in a pseudo-terminal is typed into as a person would; the screens that this makes are drawn
one after the other, none for longer than a while. Who asks their system for less motion sees the
last one.
"""

from __future__ import annotations

import os
import pty
import select
import struct
import sys
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from html import escape
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from termios import TIOCSWINSZ
from typing import NamedTuple

import pyte
from pyte.screens import Char

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "chat.svg"
COLUMNS, ROWS = 84, 16

TYPED = (
    ("qrt run", 2.0),
    ("What does str.split do?", 2.5),
    ("What is os.path.join for?", 2.5),
    ("/bye", 1.0),
)
"""What is typed, each with a return, and the seconds that what comes then is waited for."""

KEY_S, FRAME_S, LONGEST_S, LAST_S = 0.06, 0.05, 1.5, 3.0

WIDTH, HEIGHT, PAD = 8.4, 19, 14
COLOURS = {
    "default": "#e6edf3",
    "black": "#484f58",
    "brightblack": "#8b949e",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "white": "#e6edf3",
}
STYLE = """
text { font: 14px ui-monospace, Menlo, Consolas, monospace; white-space: pre }
.b { font-weight: bold } .i { font-style: italic } .u { text-decoration: underline }
.d { opacity: .6 }
"""


class Look(NamedTuple):
    """What cells that are drawn together have in common."""

    ink: str
    paper: str
    kind: str


class Terminal(pyte.Screen):
    """A screen that answers what programs ask of a terminal."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        super().__init__(COLUMNS, ROWS)
        self.write_process_input = answer

    def select_graphic_rendition(self, *attrs: int, **private: bool) -> None:
        """With blinking in place of faint text, which pyte does not know."""
        swapped = attrs if {38, 48} & {*attrs} else [{2: 5, 22: 25}.get(a, a) for a in attrs]
        super().select_graphic_rendition(*attrs, **private)
        super().select_graphic_rendition(*(a for a in swapped if a), **private)

    def drawing(self) -> tuple[str, ...]:
        """The screen, each line as SVG."""
        rows = [[self.buffer[y][x] for x in range(COLUMNS)] for y in range(ROWS)]
        if not self.cursor.hidden:
            y, x = self.cursor.y, min(self.cursor.x, COLUMNS - 1)
            rows[y][x] = rows[y][x]._replace(reverse=True)
        return tuple(map(drawn, rows))


def colour(name: str) -> str:
    """A colour that has a name, or is told as six hexadecimal digits."""
    return COLOURS.get(name) or f"#{name}"


def look(cell: Char) -> Look:
    """How a cell looks; without paper where it is the screen's own."""
    kinds = {"b": cell.bold, "i": cell.italics, "u": cell.underscore, "d": cell.blink}
    kind = " ".join(name for name, on in kinds.items() if on)
    if cell.reverse:
        return Look("#0d1117", colour(cell.fg), kind)
    return Look(colour(cell.fg), "" if cell.bg == "default" else colour(cell.bg), kind)


def drawn(cells: list[Char]) -> str:
    """A line as SVG, by runs of cells that look alike."""
    parts, column = [], 0
    for style, run in groupby(cells, look):
        text = "".join(cell.data for cell in run)
        place = f'x="{column * WIDTH:.1f}"'
        if style.paper:
            size = f'width="{len(text) * WIDTH:.1f}" height="{HEIGHT}"'
            parts.append(f'<rect {place} {size} fill="{style.paper}"/>')
        if shown := text.rstrip():
            length = f'textLength="{len(shown) * WIDTH:.1f}"'
            kind = f' class="{style.kind}"' if style.kind else ""
            parts.append(
                f'<text {place} y="14" {length}{kind} fill="{style.ink}">{escape(shown)}</text>'
            )
        column += len(text)
    return "".join(parts)


def output(terminal: int, seconds: float) -> Iterator[bytes]:
    """What comes within `seconds`, a frame's worth at a time."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], min(left, FRAME_S))[0]:
            time.sleep(FRAME_S)
            try:
                yield os.read(terminal, 1 << 16)
            except OSError:  # the shell is gone
                return


def record(home: str) -> list[tuple[float, tuple[str, ...]]]:
    """The screens of a session, each with the seconds at which it came."""
    child, terminal = pty.fork()
    if child == 0:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "HOME": home, "TERM": "xterm-256color"}
        environment |= {
            "PS1": "$ ",
            "COLORTERM": "truecolor",
            "BASH_SILENCE_DEPRECATION_WARNING": "1",
        }
        os.execvpe("bash", ["bash", "--norc", "--noprofile"], environment)
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    screen = Terminal(lambda text: os.write(terminal, text.encode()))
    stream = pyte.ByteStream(screen)
    frames: list[tuple[float, tuple[str, ...]]] = []

    def look_at(seconds: float) -> None:
        for came in output(terminal, seconds):
            stream.feed(came)
            if not frames or screen.drawing() != frames[-1][1]:
                frames.append((time.monotonic(), screen.drawing()))

    look_at(1.0)
    del frames[:-1]  # before the shell was ready
    for text, seconds in TYPED:
        for key in f"{text}\r":
            os.write(terminal, key.encode())
            look_at(KEY_S)
        look_at(seconds)
    os.close(terminal)
    os.waitpid(child, 0)
    return frames


def picture(frames: list[tuple[float, tuple[str, ...]]]) -> str:
    """Screens side by side, of which one at a time stands in the window."""
    gaps = [later - at_s for (at_s, _), (later, _) in pairwise(frames)]
    starts = [0.0, *accumulate(min(gap, LONGEST_S) for gap in gaps)]
    wide, high = COLUMNS * WIDTH + 2 * PAD, ROWS * HEIGHT + 2 * PAD
    end = starts[-1] + LAST_S
    names = {line: f"l{i}" for i, line in enumerate(dict.fromkeys(x for _, f in frames for x in f))}
    steps = "".join(
        f"{100 * at_s / end:.2f}% {{ transform: translateX({-i * wide:.1f}px) }}"
        for i, at_s in enumerate(starts)
    )
    last = f"translateX({-(len(frames) - 1) * wide:.1f}px)"
    move = f"#film {{ animation: film {end:.1f}s step-end infinite }} @keyframes film {{ {steps} }}"
    still = f"#film {{ animation: none; transform: {last} }}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.1f} {high}" role="img">',
        "<title>A chat with the embedded model</title>",
        f"<style>{STYLE}{move} @media (prefers-reduced-motion: reduce) {{ {still} }}</style><defs>",
        *(f'<g id="{name}">{line}</g>' for line, name in names.items() if line),
        '</defs><rect width="100%" height="100%" rx="8" fill="#0d1117"/><g id="film">',
    ]
    for i, (_, lines) in enumerate(frames):
        uses = "".join(
            f'<use href="#{names[line]}" y="{y * HEIGHT}"/>' for y, line in enumerate(lines) if line
        )
        parts.append(f'<g transform="translate({i * wide + PAD:.1f} {PAD})">{uses}</g>')
    return "\n".join([*parts, "</g></svg>\n"])


def main() -> None:
    with TemporaryDirectory() as home:
        frames = record(home)
    PICTURE.write_text(picture(frames), encoding="utf-8")
    print(f"{PICTURE}: {len(frames)} screens, {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
