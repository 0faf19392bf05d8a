"""Markdown as it streams: every line is drawn as soon as its kind is known, and final at its end.

Lines of a paragraph stay lines. Only a table is open for longer, until its columns are settled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qrt.cli.render.cells import BOLD, CODE, DIM, ITALIC, UNDERLINED, Cell, Row, cells_of, wrap
from qrt.cli.render.code import Code
from qrt.cli.render.grid import Grid, may_begin
from qrt.cli.render.inline import held_back, inline
from qrt.cli.render.lines import Lines
from qrt.cli.render.screen import Window

_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( *)([-*+]|\d{1,9}[.)])( +)(?=\S)")
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?\S)([ \t]+#+)?[ \t]*")
_RULE = re.compile(r"[ \t]*([-*_])([ \t]*\1){2,}[ \t]*")
_UNDECIDED = re.compile(r"[ \t]*(#{1,6}|[-*_+ \t]+|\d{1,9}[.)]?|`+|~+|>|\|)?[ \t]*")
"""The start of a line that may become a heading, a list, a rule, a fence, a quotation, a table."""
_UNDECIDED_BELOW = re.compile(r"[ \t|:-]*")
"""That of a line that may make the line above it the header of a table."""
_HEADINGS = (f"{BOLD};{UNDERLINED}", BOLD, f"{BOLD};{ITALIC}")
_INDENTED = 4
"""Spaces before a line of code, beyond those of the list it is in."""
_BULLET, _BAR = "•", "│ "


@dataclass
class _Line:
    """A line taken apart."""

    n_bars: int
    """How deep the quotation is that it stands in."""
    first: list[Cell]
    """What stands before its text on its first row."""
    text: str
    columns: list[int] = field(default_factory=list)
    """Where the texts of the items begin that begin here."""
    is_verbatim: bool = False

    @property
    def rest(self) -> list[Cell]:
        """What stands before its other rows."""
        bars = cells_of(_BAR * self.n_bars, DIM)
        return bars + cells_of(" " * (len(self.first) - len(bars)))


class Markdown(Lines):
    """Headings, lists, quotations, rules, tables, code; what is none of these is text."""

    def __init__(self) -> None:
        super().__init__()
        self._code: Code | None = None
        self._n_bars = 0
        """The depth of the quotation that the code stands in."""
        self._n_cut = 0
        """How much of the last line of code is shown for good."""
        self._grid: Grid | None = None
        self._columns: list[int] = []
        """Where the texts of the items begin that a line may belong to, the outermost first."""
        self._may_indent = True
        """The line before was blank, or indented code."""

    def cut(self) -> bool:
        line = self._line
        super().cut()
        if self._code:
            self._line, self._n_cut = line, 0 if self._code.may_close(line) else len(line)
            return False
        if self._grid:
            self._grid.forget_rows()
            self._line = line
        elif _UNDECIDED.fullmatch((parsed := self._parsed(line)).text):
            self._line = line
        else:
            self._line = " " * len(parsed.rest) + held_back(line)
        return True

    def _ended(self, line: str, window: Window) -> list[Row]:
        if self._code:
            return self._ended_code(self._code, line, window)
        if self._grid:
            return self._ended_below(self._grid, line, window)
        if not line.strip():
            self._needs_gap = self._may_indent = True
            return []
        parsed = self._parsed(line)
        if not parsed.columns and not parsed.n_bars and may_begin(line):
            self._grid = Grid(line)
            return []
        return self._ended_text(parsed, window)

    def _ended_text(self, parsed: _Line, window: Window) -> list[Row]:
        n_spaces = len(parsed.rest) if not parsed.columns else 0
        start = parsed.columns[0] if parsed.columns else n_spaces + 1
        self._columns = [c for c in self._columns if c < start] + parsed.columns
        self._may_indent = parsed.is_verbatim
        self._code = Code.opened(parsed.text, len(parsed.first) - len(_BAR) * parsed.n_bars)
        self._n_bars = parsed.n_bars
        self._needs_gap |= self._code is not None or _HEADING.match(parsed.text) is not None
        return self._final(_shown(parsed, window))

    def _ended_code(self, code: Code, line: str, window: Window) -> list[Row]:
        n_cut, self._n_cut = self._n_cut, 0
        text = self._unquoted(line)
        if text is not None and not code.closes(text):
            row = code.row(text)
            return self._final([tuple(cells_of(line[n_cut:])) if n_cut else row])
        self._code = None
        self._needs_gap = self._may_indent = True
        return [] if text is not None else self._ended(line, window)

    def _ended_below(self, grid: Grid, line: str, window: Window) -> list[Row]:
        """A line below a table, or below what may be the header of one."""
        if grid.has_begun and may_begin(line):
            return self._final(grid.add(line, window))
        if not grid.has_begun and grid.begins(line):
            return []
        return self._rest(window) + self._ended(line, window)

    def _rest(self, window: Window) -> list[Row]:
        grid, self._grid = self._grid, None
        if grid is None:
            return []
        if not grid.has_begun:
            return self._ended_text(self._parsed(grid.header), window)
        rows = self._final(grid.rows(window.width))
        self._needs_gap = True
        return rows

    def _open(self, window: Window) -> list[Row]:
        line, grid = self._line, self._grid
        if self._code:
            if self._n_cut:
                return [tuple(cells_of(line[self._n_cut :]))]
            text = self._unquoted(line) or ""
            return [] if self._code.may_close(text) else [self._code.row(text, is_open=True)]
        if grid is None:
            return self._open_text(line, window)
        if grid.has_begun:
            return grid.rows(window.width, line)
        if _UNDECIDED_BELOW.fullmatch(line):
            return self._open_text(grid.header, window, is_open=False)
        return _shown(self._parsed(grid.header), window) + self._open_text(line, window)

    def _open_text(self, line: str, window: Window, *, is_open: bool = True) -> list[Row]:
        parsed = self._parsed(line)
        if is_open and _UNDECIDED.fullmatch(parsed.text):
            return []
        if parsed.text.startswith("|") and not parsed.columns and not parsed.n_bars:
            return Grid(line, is_open=is_open).rows(window.width)
        rows = _shown(parsed, window, is_open=is_open)
        is_spaced = Code.opened(parsed.text, 0) or _HEADING.match(parsed.text)
        return [(), *rows] if is_spaced and self._has_shown and not self._needs_gap else rows

    def _parsed(self, line: str) -> _Line:
        text, n_bars = line, 0
        while found := _QUOTE.match(text):
            text, n_bars = text[found.end() :], n_bars + 1
        bare = text.lstrip(" \t")
        spaces = text[: len(text) - len(bare)].expandtabs(_INDENTED)
        parsed = _Line(n_bars, cells_of(_BAR * n_bars, DIM), spaces + bare)
        base = max((c for c in self._columns if c <= len(spaces)), default=0)
        if self._may_indent and not n_bars and len(spaces) >= base + _INDENTED:
            parsed.is_verbatim = True
            return parsed
        while not _RULE.fullmatch(parsed.text) and (found := _ITEM.match(parsed.text)):
            mark = _BULLET if found[2] in "-*+" else found[2]
            parsed.first += cells_of(f"{found[1]}{mark}{found[3]}")
            parsed.text = parsed.text[found.end() :]
            parsed.columns.append(len(parsed.first))
        bare = parsed.text.lstrip(" ")
        parsed.first += cells_of(" " * (len(parsed.text) - len(bare)))
        parsed.text = bare
        return parsed

    def _unquoted(self, line: str) -> str | None:
        """A line without the marks of the quotation that the code stands in; None behind it."""
        for _ in range(self._n_bars):
            found = _QUOTE.match(line)
            if found is None:
                return None
            line = line[found.end() :]
        return line


def _shown(line: _Line, window: Window, *, is_open: bool = False) -> list[Row]:
    """The rows of a line of text."""
    if line.is_verbatim:
        return [tuple(cells_of(line.text, CODE))]
    if code := Code.opened(line.text, 0):
        row = [*line.first, *cells_of(code.info, DIM)]
        return [tuple(row)] if code.info or line.columns else []
    if _RULE.fullmatch(line.text) and not line.columns:
        n = window.width - len(line.first)
        return [(*line.first, *cells_of("─" * n, DIM))]
    style, text = "", line.text
    if heading := _HEADING.fullmatch(text):
        style, text = _HEADINGS[min(len(heading[1]), len(_HEADINGS)) - 1], heading[2]
    cells = inline(text.rstrip() if not is_open else text, style, is_open=is_open)
    return wrap(cells, window.width, line.first, line.rest[: window.width // 2])
