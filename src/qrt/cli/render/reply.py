"""A reply: thoughts and answer in turn, each with lines of its own and a blank row between."""

from __future__ import annotations

from collections.abc import Callable

from qrt.cli.render.cells import Row
from qrt.cli.render.lines import Lines
from qrt.cli.render.screen import Window


class Reply:
    """Takes pieces of both; gives rows as `Lines` does."""

    def __init__(self, thoughts: Callable[[], Lines], answer: Callable[[], Lines]) -> None:
        self._makers = (answer, thoughts)
        self._parts: list[Lines] = []
        """Those not shown to their end, the last of which is written."""
        self._is_thought = False
        self._needs_gap = False

    def push(self, text: str, *, is_thought: bool) -> None:
        """Adds text."""
        if not self._parts or is_thought != self._is_thought:
            self._parts.append(self._makers[is_thought]())
            self._is_thought = is_thought
        self._parts[-1].push(text)

    def rows(self, window: Window, *, is_end: bool = False) -> tuple[list[Row], list[Row]]:
        """The rows that became final, and those that may change."""
        final: list[Row] = []
        open_: list[Row] = []
        for part in list(self._parts):
            is_over = is_end or part is not self._parts[-1]
            new, open_ = part.rows(window, is_end=is_over)
            if self._needs_gap and (new or open_):
                final.append(())
                self._needs_gap = False
            final += new
            if is_over:
                self._parts.remove(part)
                self._needs_gap = part.has_shown
        return final, open_

    def cut(self) -> bool:
        """As in `Lines`."""
        return not self._parts or self._parts[-1].cut()
