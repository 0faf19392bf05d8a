"""Writes an answer as it comes: as it is where it is piped, rendered and safe in a terminal."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import TextIO

from qrt.cli.arguments import is_terminal
from qrt.cli.render.lines import Lines
from qrt.cli.render.screen import Screen, window_of

_BETWEEN_S = 0.03
"""A terminal that is drawn more often only slows the model down."""
_SHARE = 10
"""Drawing takes a tenth of the time at most: the longer it took, the later comes the next."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIM, _RESET = "\x1b[2m", "\x1b[0m"


class AnswerWriter:
    """Writes one answer, piece by piece; `end` closes it."""

    def __init__(self, out: TextIO, *, plain: bool = False, closing_line: bool = True) -> None:
        """plain: the text as it is, but for control characters where a terminal would obey them.

        closing_line: the answer ends its last line, also where it is piped.
        """
        self._out = out
        self._is_terminal = is_terminal(out)
        self._shown = None if plain or not can_draw(out) else _Rendered(out)
        self._closing_line = closing_line or self._is_terminal
        self._waiting: list[str] = []
        self._last = ""
        self._next = 0.0

    def write(self, text: str) -> None:
        """Adds text; it is seen at once, or a moment later if much comes."""
        if not text:
            return
        self._waiting.append(printable(text) if self._is_terminal else text)
        start = time.monotonic()
        if start >= self._next:
            self._flush()
            now = time.monotonic()
            self._next = now + max(_BETWEEN_S, _SHARE * (now - start))

    def end(self) -> None:
        """Writes what is left; in a terminal, the cursor is at the start of a line afterwards."""
        self._flush()
        if self._shown:
            self._shown.end()
        elif self._closing_line and self._last not in ("", "\n"):
            self._out.write("\n")
        self._out.flush()

    def _flush(self) -> None:
        text = "".join(self._waiting)
        self._waiting.clear()
        if self._shown:
            self._shown.add(text)
            return
        self._last = text[-1:] or self._last
        self._out.write(text)
        self._out.flush()


class _Rendered:
    """An answer in a terminal that can draw: Markdown, or wrapped text where no style shows."""

    def __init__(self, out: TextIO) -> None:
        has_styles = has_colour(out)
        self._out = out
        self._lines = _markdown() if has_styles else Lines()
        self._screen = Screen(out, has_escapes=has_styles)
        self._window = window_of(out)

    def add(self, text: str) -> None:
        window = window_of(self._out)
        if window.width != self._window.width and not self._screen.fits(
            min(window.width, self._window.width)
        ):
            self._screen.leave(new_row=self._lines.cut())
        self._window = window
        self._lines.push(text)
        self._screen.show(*self._lines.rows(window), window)

    def end(self) -> None:
        self._screen.show(*self._lines.rows(self._window, is_end=True), self._window)


def _markdown() -> Lines:
    from qrt.cli.render.markdown import Markdown

    return Markdown()


def printable(text: str) -> str:
    """`text` without the control characters that could take over a terminal."""
    return _CONTROL.sub("", text)


def can_draw(out: TextIO) -> bool:
    """Whether `out` is a terminal that does more than take characters one after the other."""
    return is_terminal(out) and os.environ.get("TERM") not in ("dumb", "unknown")


def has_colour(out: TextIO) -> bool:
    """Whether `out` shows styles, and the user has not refused them (NO_COLOR, CLICOLOR=0)."""
    is_refused = os.environ.get("NO_COLOR") or os.environ.get("CLICOLOR") == "0"
    return can_draw(out) and not is_refused


def note(out: TextIO, text: str) -> None:
    """A line that is not part of an answer, dim where colours show."""
    print(f"{_DIM}{text}{_RESET}" if has_colour(out) else text, file=out, flush=True)


def option_rows(options: Mapping[str, object]) -> list[tuple[str, str]]:
    """(name, value) of sampling options."""
    return [
        (name, ";".join(value) if isinstance(value, tuple) else f"{value}")
        for name, value in options.items()
    ]


def byte_size(n_bytes: int) -> str:
    """1572864 as 1.57 MB; units are powers of 1000, as bandwidths are given."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2f} {unit}"
    return f"{n_bytes} bytes"
