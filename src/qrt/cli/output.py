"""Writes an answer as it comes: plain where it is piped, coloured and safe in a terminal."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import TextIO

from qrt.cli.arguments import is_terminal
from qrt.cli.markdown import Markdown

_BETWEEN_S = 0.03
"""A terminal that is drawn more often only slows the model down."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIM, _RESET = "\x1b[2m", "\x1b[0m"


class AnswerWriter:
    """Writes one answer, piece by piece; `end` closes it."""

    def __init__(self, out: TextIO, *, closing_line: bool = True) -> None:
        """`closing_line`: the answer ends its last line, also where it is piped."""
        self._out = out
        self._is_terminal = is_terminal(out)
        self._style = Markdown() if has_colour(out) else None
        self._closing_line = closing_line or self._is_terminal
        self._waiting: list[str] = []
        self._last = ""
        self._next = 0.0

    def write(self, text: str) -> None:
        """Adds text; it is seen at once, or a moment later if much comes."""
        if not text:
            return
        if self._is_terminal:
            text = printable(text)
        self._last = text[-1:] or self._last
        self._waiting.append(self._style.push(text) if self._style else text)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _BETWEEN_S
            self._flush()

    def end(self) -> None:
        """Writes what is left; in a terminal, the cursor is at the start of a line afterwards."""
        if self._style:
            self._waiting.append(self._style.flush())
        if self._closing_line and self._last not in ("", "\n"):
            self._waiting.append("\n")
        self._flush()

    def _flush(self) -> None:
        self._out.write("".join(self._waiting))
        self._out.flush()
        self._waiting.clear()


def printable(text: str) -> str:
    """`text` without the control characters that could take over a terminal."""
    return _CONTROL.sub("", text)


def has_colour(out: TextIO) -> bool:
    """Whether `out` shows colours, and the user has not refused them (NO_COLOR)."""
    return is_terminal(out) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


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
