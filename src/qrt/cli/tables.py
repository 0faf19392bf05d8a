"""Tables for a person to read; values from files are shown as plain text, never as markup."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from qrt.cli.arguments import is_terminal
from qrt.cli.output import printable

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
    return max(shutil.get_terminal_size().columns, _LEAST_WIDTH)


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
        console.print(Text(printable(title), style="bold"))
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


def print_tuning(tuning: Tuning) -> None:
    """The choices in force, under a word on where they come from."""
    rows = [(name, str(value)) for name, value in asdict(tuning.choices).items()]
    print_table("Choices", [("state", f"{tuning.state} {tuning.date}".strip()), *rows])
