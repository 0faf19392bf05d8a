"""How thoughts are shown: dim, between marks where no style shows, or folded into one line."""

from __future__ import annotations

import time

from qrt.cli.render.cells import DIM, PLAIN, Row, cells_of
from qrt.cli.render.lines import Lines
from qrt.cli.render.screen import Window

_BEGIN, _END = "<think>", "</think>"


def lines_of_thoughts(*, has_styles: bool, is_folded: bool) -> Lines:
    """What shows the thoughts of one reply."""
    style = DIM if has_styles else PLAIN
    if is_folded:
        return _Folded(style)
    return Lines(style) if has_styles else _Marked()


class _Marked(Lines):
    """Thoughts between marks; none, if there is nothing in them."""

    def _ended(self, line: str, window: Window) -> list[Row]:
        begin = [] if self._has_shown or not line.strip() else [tuple(cells_of(_BEGIN))]
        return begin + super()._ended(line, window)

    def _open(self, window: Window) -> list[Row]:
        rows = super()._open(window)
        return rows if self._has_shown or not rows else [tuple(cells_of(_BEGIN)), *rows]

    def _rest(self, window: Window) -> list[Row]:  # noqa: ARG002
        return [tuple(cells_of(_END))] if self._has_shown else []


class _Folded(Lines):
    """One line that says that a model thinks, then for how long it did."""

    def __init__(self, style: str) -> None:
        super().__init__(style)
        self._start = time.monotonic()

    def rows(self, window: Window, *, is_end: bool = False) -> tuple[list[Row], list[Row]]:  # noqa: ARG002
        if not self._line.strip():
            return [], []
        self._has_shown = True
        if not is_end:
            return [], [tuple(cells_of("thinking ...", self._style))]
        seconds = time.monotonic() - self._start
        return [tuple(cells_of(f"(thought for {seconds:.0f} s)", self._style))], []

    def cut(self) -> bool:
        return False
