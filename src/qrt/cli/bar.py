"""A progress bar on standard error for work that takes minutes; gone afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qrt.cli.arguments import is_terminal
from qrt.cli.progress import shown_progress
from qrt.progress import Progress


@contextmanager
def shown_bar() -> Iterator[Progress]:
    """Gives the callback to pass on, as `shown_progress` does; a bar, where a terminal shows it."""
    if not is_terminal(sys.stderr):
        with shown_progress() as progress:
            yield progress
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()
    console = Console(file=sys.stderr)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("")

        def update(what: str, done: int, total: int) -> None:
            if done == 0:
                bar.reset(task, total=total)
            bar.update(task, description=what, completed=done, total=total)

        yield update
