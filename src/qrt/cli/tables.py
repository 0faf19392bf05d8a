"""Tables for a person to read; values from files are shown as plain text, never as markup."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from qrt.cli.arguments import is_terminal
from qrt.cli.output import printable

if TYPE_CHECKING:
    from qrt.backends.cpu.tuning import Tuning

_PIPED_WIDTH = 10_000
"""Wide enough that no line is folded where no window limits it."""


def print_table(title: str, rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A title and columns under it; those numbered in `right` are flushed right.

    Of two columns, names and what they have, the names stay whole.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(
        file=sys.stdout, width=None if is_terminal(sys.stdout) else _PIPED_WIDTH, highlight=False
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    n_columns = len(rows[0]) if rows else 1
    for i in range(-1, n_columns):
        whole = i == 0 and n_columns == 2
        table.add_column(justify="right" if i in right else "left", overflow="fold", no_wrap=whole)
    for row in rows or [("none",)]:
        table.add_row("", *(Text(printable(cell.replace("\n", " "))) for cell in row))
    with console.capture() as captured:  # rich itself would end the process at a broken pipe
        console.print(Text(printable(title), style="bold"))
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


def print_tuning(tuning: Tuning) -> None:
    """The choices in force, under a word on where they come from."""
    rows = [(name, str(value)) for name, value in asdict(tuning.choices).items()]
    print_table("Choices", [("state", f"{tuning.state} {tuning.date}".strip()), *rows])
