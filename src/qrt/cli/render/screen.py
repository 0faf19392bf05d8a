"""Writes rows to a terminal; of those that may still change, only what changed is drawn again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from qrt.cli.render.cells import Row, columns, height, sgr

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""What lies between is shown at once, by terminals that know these."""


class Window(NamedTuple):
    """The size of a terminal in columns and rows."""

    width: int
    height: int


def window_of(out: TextIO) -> Window:
    """The size of the terminal behind `out` as it is now; 80 x 24 where there is none."""
    try:
        size = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        size = shutil.get_terminal_size()
    return Window(size.columns or 80, size.lines or 24)


class Screen:
    """The last rows of a terminal. The cursor stands behind the open rows, or begins a row."""

    def __init__(self, out: TextIO, *, has_escapes: bool = True) -> None:
        """Without escapes, the last open row alone can change."""
        self._out = out
        self._has_escapes = has_escapes
        self._open: tuple[Row, ...] = ()

    def show(self, final: Sequence[Row], open_: Sequence[Row], window: Window) -> None:
        """Puts `final` in place of the open rows, and `open_` below: they may change later.

        Open rows that left the window stay as they are.
        """
        rows = (*final, *open_)
        kept = self._kept(rows, window)
        old = self._open[kept:]
        if not old:
            text = "".join("\n" * (i > 0) + sgr(row) for i, row in enumerate(rows[kept:]))
            text = "\n" * (kept > 0 and kept < len(rows)) + text
        elif len(old) == 1 and kept < len(rows) and rows[kept][: len(old[0])] == old[0]:
            text = sgr(rows[kept][len(old[0]) :])
            text += "".join("\n" + sgr(row) for row in rows[kept + 1 :])
        else:
            text = self._back(old, window) + "\n".join(map(sgr, rows[kept:]))
            if self._has_escapes:
                text = _BEGIN + text + _END
        if rows and not open_:
            text += "\n"
        self._open = tuple(open_)
        if text:
            self._out.write(text)
        self._out.flush()

    def fits(self, width: int) -> bool:
        """Whether every open row fits a window of this width."""
        return all(columns(row) <= width for row in self._open)

    def leave(self, *, new_row: bool) -> None:
        """What is open stays as it is; what comes goes on behind it, or begins a new row."""
        if self._open and new_row:
            self._out.write("\n")
        self._open = ()

    def _kept(self, rows: Sequence[Row], window: Window) -> int:
        """How many of the open rows need not, or cannot, be drawn again."""
        kept = 0
        for old, new in zip(self._open, rows, strict=False):
            if old != new:
                break
            kept += 1
        while sum(height(row, window.width) for row in self._open[kept:]) > window.height:
            kept += 1
        return kept if kept == len(self._open) else min(kept, max(0, len(rows) - 1))

    def _back(self, rows: Sequence[Row], window: Window) -> str:
        """To the start of the first of the last rows, with nothing behind it."""
        if not self._has_escapes:
            return "\r" + " " * columns(rows[-1]) + "\r"
        n_up = sum(height(row, window.width) for row in rows) - 1
        return (f"\x1b[{n_up}A" if n_up else "") + "\r\x1b[J"
