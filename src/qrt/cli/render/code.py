"""Code between fences: coloured by pygments line by line, its text as it is."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from qrt.cli.render.cells import BOLD, CODE, DIM, PLAIN, Cell, Row, cells_of, text_of

if TYPE_CHECKING:
    from pygments.lexer import Lexer

MAGENTA, GREEN, RED = "35", "32", "31"
_COLOURS = {
    "Comment": DIM,
    "Keyword": MAGENTA,
    "Keyword.Constant": CODE,
    "Literal": GREEN,
    "Literal.Number": CODE,
    "Name.Builtin": CODE,
    "Name.Attribute": CODE,
    "Name.Class": BOLD,
    "Name.Decorator": MAGENTA,
    "Name.Function": BOLD,
    "Name.Tag": MAGENTA,
    "Operator.Word": MAGENTA,
    "Generic.Deleted": RED,
    "Generic.Heading": BOLD,
    "Generic.Inserted": GREEN,
    "Generic.Prompt": DIM,
}
"""Styles of kinds of tokens, of the 16 colours those that can be read on dark and on light."""

_FENCE = re.compile(r"(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*?)[ \t]*$")
_MAX_LINES = 24
"""Lines that the colours of a line may depend on; from twice as many, half is forgotten."""
_MAX_COLUMNS = 1000
"""A longer line is no code that anybody reads."""


class Code:
    """A block of code that a fence opened."""

    @classmethod
    def opened(cls, line: str, indent: int) -> Code | None:
        """The block that a line behind `indent` spaces opens, if it is a fence."""
        found = _FENCE.match(line)
        return cls(indent, found[1], found[2]) if found else None

    def __init__(self, indent: int, fence: str, info: str) -> None:
        self.info = info
        self._indent = indent
        self._closing = re.compile(rf" *{re.escape(fence[0])}{{{len(fence)},}}[ \t]*")
        self._may_close = re.compile(rf" *{re.escape(fence[0])}*[ \t]*")
        self._before: list[str] = []

    def closes(self, line: str) -> bool:
        """Whether a line is the block's last fence."""
        return self._closing.fullmatch(line) is not None

    def may_close(self, start: str) -> bool:
        """Whether a line that begins so may be the last fence."""
        return self._may_close.fullmatch(start) is not None

    def row(self, line: str, *, is_open: bool = False) -> Row:
        """A line of code, coloured as what stands above it asks for; it is never cut."""
        n_spaces = len(line) - len(line.lstrip(" "))
        line = line[min(self._indent, n_spaces) :]
        cells = self._coloured(line)
        if not is_open:
            if len(self._before) == 2 * _MAX_LINES:
                del self._before[:_MAX_LINES]
            self._before.append(line)
        return tuple(cells)

    @cached_property
    def _lexer(self) -> Lexer | None:
        from pygments.lexers import get_lexer_by_name
        from pygments.util import ClassNotFound

        try:
            return get_lexer_by_name(self.info.split()[0].lower(), stripnl=False)
        except (ClassNotFound, IndexError):
            return None

    def _coloured(self, line: str) -> list[Cell]:
        if self._lexer is None or len(line) > _MAX_COLUMNS:
            return cells_of(line, CODE if self._lexer is None else PLAIN)
        above = "".join(f"{before[:_MAX_COLUMNS]}\n" for before in self._before)
        cells: list[Cell] = []
        at = -len(above)
        for kind, text in self._lexer.get_tokens(f"{above}{line}\n"):
            if at + len(text) > 0:
                cells += cells_of(text[max(0, -at) : max(0, len(line) - at)], _colour(kind))
            at += len(text)
        return cells if text_of(cells) == line else cells_of(line)


@lru_cache(maxsize=512)
def _colour(kind: Any) -> str:
    """The style of a kind of token, or of the nearest kind above it."""
    name = str(kind).removeprefix("Token.")
    while name not in _COLOURS:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return _COLOURS.get(name, PLAIN)
    return _COLOURS[name]
