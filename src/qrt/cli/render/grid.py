"""Tables in Markdown: columns as wide as the window allows, cells wrapped between words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

from qrt.cli.render.cells import BOLD, DIM, PLAIN, Cell, Row, cells_of, columns, runs, wrap
from qrt.cli.render.inline import inline
from qrt.cli.render.screen import Window

_DELIMITERS = re.compile(r"[ \t]*\|?([ \t]*:?-+:?[ \t]*\|)*[ \t]*:?-+:?[ \t]*\|?[ \t]*")
_BAR = re.compile(r"(?<!\\)\|")
_BETWEEN = cells_of(" │ ", DIM)
_ROOM = 8
"""Rows of the window that are left when a long table's columns are settled."""

Cells = list[list[Cell]]


def may_begin(line: str) -> bool:
    """Whether a line may be the header of a table."""
    return _BAR.search(line) is not None


class Grid:
    """A table, from its header on. While it fits the window its columns grow with their cells;
    then they are settled, and each row is final when it is complete."""

    def __init__(self, header: str, *, is_open: bool = False) -> None:
        """is_open: more of the header is to come."""
        self.header = header
        self.has_begun = False
        """Whether the line below the header says that it is a table."""
        self._heads = _split(header, BOLD, is_open=is_open)
        self._sides: list[str] = []
        self._rows: list[Cells] = []
        self._is_settled = False
        self._widths: list[int] | None = None
        """Of the settled columns; None if cells stand below each other."""

    def begins(self, line: str) -> bool:
        """Whether this second line makes it a table, which it then is."""
        if "|" in line and _DELIMITERS.fullmatch(line):
            sides = [cell.strip() for cell in _BAR.split(_bare(line))]
            if len(sides) == len(self._heads):
                self._sides = sides
                self.has_begun = True
        return self.has_begun

    def add(self, line: str, window: Window) -> list[Row]:
        """A complete row; the rows of the screen that are final with it."""
        cells = _split(line)
        if self._is_settled:
            return self._laid(cells, self._widths, window.width)
        self._rows.append(cells)
        laid = self.rows(window.width)
        if len(laid) <= max(_ROOM, window.height - _ROOM):
            return []
        self._widths, self._is_settled = self._fitting(self._rows, window.width), True
        return laid

    def rows(self, width: int, line: str = "") -> list[Row]:
        """Those not final yet, with an unfinished row `line` at the end."""
        last = [_split(line, is_open=True)] if line.strip() else []
        if self._is_settled:
            return [row for cells in last for row in self._laid(cells, self._widths, width)]
        shown = [*self._rows, *last]
        widths = self._fitting(shown, width)
        below = [row for cells in shown for row in self._laid(cells, widths, width)]
        if widths is None and shown:
            return below[1:]
        head = self._laid(self._heads, widths, width)
        if widths is None or not self.has_begun:
            return head
        return [*head, tuple(cells_of("─┼─".join("─" * n for n in widths), DIM)), *below]

    def forget_rows(self) -> None:
        """What is shown stays; the rows to come are a table of their own under the same header."""
        self._rows, self._widths, self._is_settled = [], None, False

    def _fitting(self, rows: Sequence[Cells], width: int) -> list[int] | None:
        """The width of each column; None if not even their longest words fit beside each other."""
        table = list(zip_longest(self._heads, *rows, fillvalue=[]))
        room = width - (len(table) - 1) * len(_BETWEEN)
        wanted = [max(map(columns, column)) for column in table]
        least = [max(map(_longest_word, column)) for column in table]
        if sum(least) > room:
            return None
        while sum(wanted) > room:
            spare = [(w > n, w) for w, n in zip(wanted, least, strict=True)]
            wanted[spare.index(max(spare))] -= 1
        return wanted

    def _laid(self, cells: Cells, widths: list[int] | None, width: int) -> list[Row]:
        """A row of the table: cells side by side, or each behind the head of its column."""
        if widths is None or len(cells) > len(widths):
            return self._stacked(cells, width)
        boxes = [wrap(cell, n) for cell, n in zip(cells, widths, strict=False)]
        boxes += [[()]] * (len(widths) - len(boxes))
        rows: list[Row] = []
        for i in range(max(map(len, boxes))):
            row: list[Cell] = []
            for j, (box, n) in enumerate(zip(boxes, widths, strict=True)):
                cell = box[i] if i < len(box) else ()
                before, after = self._pads(j, n - columns(cell))
                row += [*(_BETWEEN if j else ()), *cells_of(before), *cell, *cells_of(after)]
            while row and row[-1] == (" ", ""):
                row.pop()
            rows.append(tuple(row))
        return rows

    def _stacked(self, cells: Cells, width: int) -> list[Row]:
        rows: list[Row] = [()]
        for i, cell in enumerate(cells):
            head = self._heads[i] if i < len(self._heads) and cells is not self._heads else []
            first = [*head, *cells_of(": ", BOLD)] if head else []
            rows += wrap([*first, *cell], width, (), cells_of("  "))
        return rows

    def _pads(self, column: int, n: int) -> tuple[str, str]:
        side = self._sides[column] if column < len(self._sides) else ""
        left = {(True, True): n // 2, (False, True): n}.get((side[:1] == ":", side[-1:] == ":"), 0)
        return " " * left, " " * (n - left)


def _bare(line: str) -> str:
    """A row without the bars around it."""
    line = line.strip().removeprefix("|")
    return line[:-1] if line.endswith("|") and not line.endswith("\\|") else line


def _split(line: str, style: str = PLAIN, *, is_open: bool = False) -> Cells:
    texts = [text.strip().replace("\\|", "|") for text in _BAR.split(_bare(line))]
    last = len(texts) - 1
    return [inline(t, style, is_open=is_open and i == last) for i, t in enumerate(texts)]


def _longest_word(cells: list[Cell]) -> int:
    return max((columns(run) for is_gap, run in runs(cells) if not is_gap), default=0)
