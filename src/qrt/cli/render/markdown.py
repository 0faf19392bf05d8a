"""Markdown as it streams: every line is drawn as soon as its kind is known, and final at its end.

Lines of a paragraph stay lines. Open for longer is a table, until its columns are settled, and
text with a mark that a later line may close.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from qrt.cli.render.cells import (
    BOLD,
    CODE,
    DIM,
    ITALIC,
    PLAIN,
    UNDERLINED,
    Cell,
    Row,
    cells_of,
    lines_of,
    wrap,
)
from qrt.cli.render.code import Code
from qrt.cli.render.grid import Grid, may_begin
from qrt.cli.render.inline import held_back, inline, runs_on
from qrt.cli.render.lines import Lines
from qrt.cli.render.screen import Window

_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( *)([-*+]|\d{1,9}[.)])( +)(?=\S)")
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?\S)([ \t]+#+)?[ \t]*")
_RULE = re.compile(r"[ \t]*([-*_=])([ \t]*\1){2,}[ \t]*")
_UNDECIDED = re.compile(r"[ \t]*(#{1,6}|[-*_+= \t]+|\d{1,9}[.)]?|`+|~+|>|\|)?[ \t]*")
"""The start of a line that may become a heading, a list, a rule, a fence, a quotation, a table."""
_UNDECIDED_BELOW = re.compile(r"[ \t|:-]*")
"""That of a line that may make the line above it the header of a table."""
_HEADINGS = (f"{BOLD};{UNDERLINED}", BOLD, f"{BOLD};{ITALIC}")
_BAR_COLUMNS = 2
_MAX_RUN = 8
"""Lines after which a mark that is open is none."""
_INDENTED = 4
"""Spaces before a line of code, beyond those of the list it is in."""


@dataclass
class ParsedLine:
    """A line taken apart."""

    bars: list[Cell]
    """Those of the quotation that it stands in."""
    first: list[Cell]
    """What stands before its text on its first row."""
    text: str
    columns: list[int] = field(default_factory=list)
    """Where the texts of the items begin that begin here."""
    is_verbatim: bool = False

    @property
    def rest(self) -> list[Cell]:
        """What stands before its other rows."""
        return self.bars + cells_of(" " * (len(self.first) - len(self.bars)))

    @property
    def is_text(self) -> bool:
        """Whether it is text, which a line below may continue."""
        is_block = _HEADING.fullmatch(self.text) or _RULE.fullmatch(self.text)
        return not self.is_verbatim and not is_block and Code.opened(self.text, 0) is None

    def with_line(self, text: str) -> ParsedLine:
        """The same with another line below."""
        return replace(self, text=f"{self.text}\n{text}")


class Markdown(Lines):
    """Headings, lists, quotations, rules, tables, code; what is none of these is text."""

    bullet = "•"
    bar: Cell = ("│", DIM)

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
        self._running: ParsedLine | None = None
        """Lines of text in which a mark is open."""

    def cut(self) -> bool:
        line = self._line
        super().cut()
        if self._code:
            self._line, self._n_cut = line, 0 if self._code.may_close(line) else len(line)
            return False
        self._running = None
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
        if self._running:
            more = self._more_of(self._running, line)
            if more is None:
                return self._rest(window) + self._ended(line, window)
            return self._ended_run(self._running.with_line(more), window)
        if not line.strip():
            self._needs_gap = self._may_indent = True
            return []
        parsed = self._parsed(line)
        if self._may_begin_grid(parsed):
            self._grid = Grid(line)
            return []
        return self._ended_text(parsed, window)

    def _ended_text(self, parsed: ParsedLine, window: Window) -> list[Row]:
        n_spaces = len(parsed.rest) if not parsed.columns else 0
        start = parsed.columns[0] if parsed.columns else n_spaces + 1
        self._columns = [c for c in self._columns if c < start] + parsed.columns
        self._may_indent = parsed.is_verbatim
        self._code = Code.opened(parsed.text, len(parsed.first) - len(parsed.bars))
        self._n_bars = len(parsed.bars) // _BAR_COLUMNS
        self._needs_gap |= self._code is not None or _HEADING.match(parsed.text) is not None
        return self._ended_run(parsed, window)

    def _ended_run(self, parsed: ParsedLine, window: Window) -> list[Row]:
        """Lines of text, final unless the next may close a mark."""
        self._running = None
        if parsed.is_text and self._runs_on(parsed.text):
            self._running = parsed
            return []
        return self._final(self._shown(parsed, window))

    def _ended_code(self, code: Code, line: str, window: Window) -> list[Row]:
        n_cut, self._n_cut = self._n_cut, 0
        text = self._unquoted(line)
        if text is not None and not code.closes(text):
            row = self._code_row(code, text)
            return self._final([tuple(cells_of(line[n_cut:])) if n_cut else row])
        rows = [] if text is None else self._final(self._fence(text))
        self._code = None
        self._needs_gap = self._may_indent = True
        return rows if text is not None else self._ended(line, window)

    def _ended_below(self, grid: Grid, line: str, window: Window) -> list[Row]:
        """A line below a table, or below what may be the header of one."""
        if grid.has_begun and may_begin(line):
            return self._final(grid.add(line, window))
        if not grid.has_begun and grid.begins(line):
            return []
        return self._rest(window) + self._ended(line, window)

    def _rest(self, window: Window) -> list[Row]:
        running, self._running = self._running, None
        if running:
            return self._final(self._shown(running, window))
        grid, self._grid = self._grid, None
        if grid is None:
            return []
        if not grid.has_begun:
            return self._ended_text(self._parsed(grid.header), window) + self._rest(window)
        rows = self._final(grid.rows(window.width))
        self._needs_gap = True
        return rows

    def _open(self, window: Window) -> list[Row]:
        line, grid = self._line, self._grid
        if self._code:
            if self._n_cut:
                return [tuple(cells_of(line[self._n_cut :]))]
            text = self._unquoted(line) or ""
            if self._code.may_close(text):
                return []
            return [self._code_row(self._code, text, is_open=True)]
        if self._running:
            return self._open_run(self._running, line, window)
        if grid is None:
            return self._open_text(line, window)
        if grid.has_begun:
            return grid.rows(window.width, line)
        if _UNDECIDED_BELOW.fullmatch(line):
            return self._open_text(grid.header, window, is_open=False)
        return self._shown(self._parsed(grid.header), window) + self._open_text(line, window)

    def _open_text(self, line: str, window: Window, *, is_open: bool = True) -> list[Row]:
        parsed = self._parsed(line)
        if is_open and _UNDECIDED.fullmatch(parsed.text):
            return []
        if parsed.text.startswith("|") and self._may_begin_grid(parsed):
            return Grid(line, is_open=is_open).rows(window.width)
        rows = self._shown(parsed, window, is_open=is_open)
        is_spaced = Code.opened(parsed.text, 0) or _HEADING.match(parsed.text)
        return [(), *rows] if is_spaced and self._has_shown and not self._needs_gap else rows

    def _open_run(self, running: ParsedLine, line: str, window: Window) -> list[Row]:
        if _UNDECIDED.fullmatch(self._parsed(line).text):
            return self._shown(running.with_line(""), window, is_open=True)
        more = self._more_of(running, line)
        if more is None:
            return self._shown(running, window) + self._open_text(line, window)
        return self._shown(running.with_line(more), window, is_open=True)

    def _more_of(self, running: ParsedLine, line: str) -> str | None:
        """The text of a line that goes on with those above; None for another block."""
        parsed = self._parsed(line)
        is_beside = not parsed.bars or parsed.bars == running.bars
        if not line.strip() or parsed.columns or not is_beside or not parsed.is_text:
            return None
        return None if self._may_begin_grid(parsed) else parsed.text

    def _runs_on(self, text: str) -> bool:
        """Whether a mark is open in lines of text."""
        return text.count("\n") < _MAX_RUN and runs_on(text)

    def _may_begin_grid(self, parsed: ParsedLine) -> bool:
        return not parsed.columns and not parsed.bars and may_begin(parsed.text)

    def _parsed(self, line: str) -> ParsedLine:
        text, bars = line, list[Cell]()
        while found := _QUOTE.match(text):
            text = text[found.end() :]
            bars += [self.bar, (" ", "")]
        bare = text.lstrip(" \t")
        spaces = text[: len(text) - len(bare)].expandtabs(_INDENTED)
        parsed = ParsedLine(bars, list(bars), spaces + bare)
        base = max((c for c in self._columns if c <= len(spaces)), default=0)
        if self._may_indent and not bars and len(spaces) >= base + _INDENTED:
            parsed.is_verbatim = True
            return parsed
        while not _RULE.fullmatch(parsed.text) and (found := _ITEM.match(parsed.text)):
            mark = (self.bullet or found[2]) if found[2] in "-*+" else found[2]
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

    def _shown(self, line: ParsedLine, window: Window, *, is_open: bool = False) -> list[Row]:
        """The rows of a line of text."""
        if line.is_verbatim:
            return [tuple(cells_of(line.text, CODE))]
        if code := Code.opened(line.text, 0):
            row = [*line.first, *cells_of(code.info, DIM)]
            return [tuple(row)] if code.info or line.columns else []
        if _RULE.fullmatch(line.text) and not line.columns:
            n = window.width - len(line.first)
            return [(*line.first, *cells_of("─" * n, DIM))]
        style, text = PLAIN, line.text
        if heading := _HEADING.fullmatch(text):
            style, text = _HEADINGS[min(len(heading[1]), len(_HEADINGS)) - 1], heading[2]
        cells = inline(text.rstrip() if not is_open else text, style, is_open=is_open)
        rows: list[Row] = []
        rest = line.rest[: window.width // 2]
        for part in lines_of(cells):
            rows += wrap(part, window.width, rest if rows else line.first, rest)
        return rows

    def _code_row(self, code: Code, line: str, *, is_open: bool = False) -> Row:
        """A line of code."""
        return code.row(line, is_open=is_open)

    def _fence(self, line: str) -> list[Row]:  # noqa: ARG002
        """The last fence of a block of code."""
        return []
