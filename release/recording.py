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
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from termios import TIOCSWINSZ

import pyte
from screens import HEIGHT, PAD, WIDTH, Screen, picture

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


class Terminal(Screen):
    """A screen that answers what programs ask of a terminal."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        super().__init__(COLUMNS, ROWS)
        self.write_process_input = answer


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


def film(frames: list[tuple[float, tuple[str, ...]]]) -> str:
    """Screens side by side, of which one at a time stands in the picture."""
    gaps = [later - at_s for (at_s, _), (later, _) in pairwise(frames)]
    starts = [0.0, *accumulate(min(gap, LONGEST_S) for gap in gaps)]
    wide, end = COLUMNS * WIDTH + 2 * PAD, starts[-1] + LAST_S
    names = {line: f"l{i}" for i, line in enumerate(dict.fromkeys(x for _, f in frames for x in f))}
    steps = "".join(
        f"{100 * at_s / end:.2f}% {{ transform: translateX({-i * wide:.1f}px) }}"
        for i, at_s in enumerate(starts)
    )
    last = f"translateX({-(len(frames) - 1) * wide:.1f}px)"
    move = f"#film {{ animation: film {end:.1f}s step-end infinite }} @keyframes film {{ {steps} }}"
    still = f"#film {{ animation: none; transform: {last} }}"
    style = f"{move} @media (prefers-reduced-motion: reduce) {{ {still} }}"
    shapes = (f'<g id="{name}">{line}</g>' for line, name in names.items() if line)
    body = ["<defs>", *shapes, '</defs><g id="film">']
    for i, (_, lines) in enumerate(frames):
        uses = "".join(
            f'<use href="#{names[line]}" y="{y * HEIGHT}"/>' for y, line in enumerate(lines) if line
        )
        body.append(f'<g transform="translate({i * wide + PAD:.1f} {PAD})">{uses}</g>')
    return picture("A chat with the embedded model", COLUMNS, ROWS, style, [*body, "</g>"])


def main() -> None:
    with TemporaryDirectory() as home:
        frames = record(home)
    PICTURE.write_text(film(frames), encoding="utf-8")
    print(f"{PICTURE}: {len(frames)} screens, {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
