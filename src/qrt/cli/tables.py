"""Tables for a person to read; values from files are shown as plain text, never as markup."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TextIO

from qrt.cli.arguments import is_terminal
from qrt.cli.output import has_colour, printable

if TYPE_CHECKING:
    from qrt.backends.cpu.tuning import Tuning

_PIPED_WIDTH = 10_000
"""Wide enough that no line is folded where no window limits it."""

_LEAST_WIDTH = 20
_GAP = 2


def terminal_width(out: TextIO) -> int | None:
    """Columns of the terminal that shows a stream, or as COLUMNS says; None for what is none."""
    if not is_terminal(out):
        return None
    from qrt.cli.render.screen import window_of

    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() else 0
    return max(width or window_of(out).width, _LEAST_WIDTH)


def wrapped(text: str, out: TextIO, indents: tuple[str, str] = ("", "")) -> str:
    """`text` in lines that a terminal shows whole, the first and the others indented; one line
    where `out` is none.
    """
    width = terminal_width(out)
    if width is None:
        return indents[0] + text
    first, others = indents
    lines = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )
    return "\n".join(lines)


def fitting(widths: Sequence[int], spare: Sequence[int], room: int | None) -> list[int]:
    """The columns of a table that stand side by side in `room`, of which `widths` are the widths.

    Those of `spare` go, one after the other, until the others fit.
    """
    kept = list(range(len(widths)))
    for column in spare:
        if room is None or sum(widths[i] for i in kept) <= room:
            break
        kept.remove(column)
    return kept


def print_table(
    title: str,
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    spare: Sequence[int] = (),
) -> None:
    """A title and columns under it; those numbered in `right` are flushed right.

    In a terminal that is too narrow the columns of `spare` go, the first of them first; what is
    too wide then is folded. Of two columns, names and what they have, the names stay whole.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = terminal_width(sys.stdout)
    rows = rows or [("none",)]
    n_columns = len(rows[0])
    widths = [max(cell_len(row[i]) for row in rows) + _GAP for i in range(n_columns)]
    kept = fitting(widths, spare, None if width is None else width - _GAP)
    console = Console(file=sys.stdout, width=width or _PIPED_WIDTH, highlight=False)
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for i in (-1, *kept):
        whole = i == 0 and n_columns == 2
        table.add_column(justify="right" if i in right else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row("", *(Text(printable(row[i].replace("\n", " "))) for i in kept))
    with console.capture() as captured:  # rich itself would end the process at a broken pipe
        console.print(Text(printable(title), "bold" if has_colour(sys.stdout) else ""))
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a Markdown table: `value` gives the cell of what a row is about."""

    title: str
    width: int
    value: Callable[..., str]
    right: bool = True
    same: bool = False
    """The cells of all rows are the same."""


class MarkdownTable:
    """A Markdown table whose rows are written as they come.

    In a terminal that is too narrow the columns of `spare`, by their titles, are left out, the
    first of them first. A line above has those whose rows are all the same, one below names the
    others.
    """

    def __init__(self, columns: Sequence[Column], spare: Sequence[str]) -> None:
        width = terminal_width(sys.stdout)
        titles = [column.title for column in columns]
        order = [titles.index(title) for title in spare]
        borders = len("| ") + len(" ")
        room = None if width is None else width - 1
        kept = fitting([column.width + borders for column in columns], order, room)
        self._columns = [columns[i] for i in kept]
        self.left_out = [column for column in columns if column not in self._columns]

    def head(self, *subject: object) -> Iterator[str]:
        """What is above the first row, which is about `subject`."""
        if same := [column.value(*subject) for column in self.left_out if column.same]:
            yield wrapped(", ".join(same), sys.stdout)
        yield self._line(column.title for column in self._columns)
        yield self._line("-" * (c.width - 1) + "-:"[c.right] for c in self._columns)

    def row(self, *subject: object) -> str:
        """The line of what a row is about."""
        return self._line(column.value(*subject) for column in self._columns)

    def foot(self) -> Iterator[str]:
        """What is below the last row."""
        if titles := [column.title for column in self.left_out if not column.same]:
            where = "a pipe, -o json and a wider window have all"
            yield wrapped(f"left out: {', '.join(titles)}; {where}", sys.stdout)

    def _line(self, cells: Iterable[str]) -> str:
        aligned = (
            f"{cell:{'>' if column.right else '<'}{column.width}}"
            for cell, column in zip(cells, self._columns, strict=True)
        )
        return f"| {' | '.join(aligned)} |"


def print_tuning(tuning: Tuning) -> None:
    """The choices in force, under a word on where they come from."""
    rows = [(name, str(value)) for name, value in asdict(tuning.choices).items()]
    print_table("Choices", [("state", f"{tuning.state} {tuning.date}".strip()), *rows])
