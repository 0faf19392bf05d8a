"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""progress(what, done, total), called from the thread that does the work."""


def no_progress(what: str, done: int, total: int) -> None:
    """The progress callback of a caller that shows none."""
