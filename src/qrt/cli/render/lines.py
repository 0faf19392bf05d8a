"""Text line by line: a line is final when it ends; until then it may be drawn again."""

from __future__ import annotations

from qrt.cli.render.cells import PLAIN, Row, cells_of, wrap
from qrt.cli.render.screen import Window


class Lines:
    """Text in one style, wrapped; blank lines at its ends go, and of several in a row one stays."""

    def __init__(self, style: str = PLAIN) -> None:
        self._style = style
        self._line = ""
        """What came of the last line, and lines before it that were not looked at yet."""
        self._has_shown = False
        self._needs_gap = False
        """A blank row is due before the next."""

    @property
    def has_shown(self) -> bool:
        """Whether a row has become final."""
        return self._has_shown

    def push(self, text: str) -> None:
        """Adds text."""
        self._line += text

    def rows(self, window: Window, *, is_end: bool = False) -> tuple[list[Row], list[Row]]:
        """The rows that became final since the last call, and those that may change.

        In the end they do not depend on the pieces that the text came in.
        """
        *lines, self._line = self._line.split("\n")
        if is_end and self._line:
            lines, self._line = [*lines, self._line], ""
        final = [row for line in lines for row in self._ended(line, window)]
        if is_end:
            return final + self._rest(window), []
        return final, self._spaced(self._open(window))

    def cut(self) -> bool:
        """What is shown of the last line stays, since a narrower window cannot draw it again.

        Whether what follows begins a new row.
        """
        self._line, self._has_shown, self._needs_gap = "", True, False
        return True

    def _ended(self, line: str, window: Window) -> list[Row]:
        """The final rows that a complete line gives."""
        if not line.strip():
            self._needs_gap = True
        return self._final(self._wrapped(line, window))

    def _open(self, window: Window) -> list[Row]:
        """The rows of the last line as far as it came."""
        return self._wrapped(self._line, window)

    def _rest(self, window: Window) -> list[Row]:  # noqa: ARG002
        """The final rows that nothing but the end of the text gives."""
        return []

    def _wrapped(self, line: str, window: Window) -> list[Row]:
        n_spaces = min(len(line) - len(line.lstrip()), window.width // 2)
        indent = cells_of(" " * n_spaces)
        cells = cells_of(line.strip(), self._style)
        return wrap(cells, window.width, indent, indent) if cells else []

    def _final(self, rows: list[Row]) -> list[Row]:
        """Rows that are shown from now on, after the blank row that is due."""
        rows = self._spaced(rows)
        if rows:
            self._has_shown, self._needs_gap = True, False
        return rows

    def _spaced(self, rows: list[Row]) -> list[Row]:
        return [(), *rows] if rows and self._needs_gap and self._has_shown else rows
