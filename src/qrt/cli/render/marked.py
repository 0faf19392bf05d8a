"""Markdown where no style shows: marks stay, words wrap, lists hang, code is not cut."""

from __future__ import annotations

from qrt.cli.render.cells import PLAIN, Row, cells_of, wrap
from qrt.cli.render.code import Code
from qrt.cli.render.markdown import Markdown, ParsedLine
from qrt.cli.render.screen import Window


class Marked(Markdown):
    """As `Markdown`, but for what a style would show. Only its last row ever changes."""

    bullet = ""
    bar = (">", PLAIN)

    def _may_begin_grid(self, parsed: ParsedLine) -> bool:  # noqa: ARG002
        return False

    def _runs_on(self, text: str) -> bool:  # noqa: ARG002
        return False

    def _shown(self, line: ParsedLine, window: Window, *, is_open: bool = False) -> list[Row]:  # noqa: ARG002
        if line.is_verbatim:
            return [tuple(cells_of(line.text))]
        cells = cells_of(line.text.rstrip())
        rest = cells_of(" " * min(len(line.first), window.width // 2))
        return wrap(cells, window.width, line.first, rest)

    def _code_row(self, code: Code, line: str, *, is_open: bool = False) -> Row:  # noqa: ARG002
        return tuple(cells_of(line))

    def _fence(self, line: str) -> list[Row]:
        return [tuple(cells_of(line))]
