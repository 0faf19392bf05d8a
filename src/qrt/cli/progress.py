"""What a person sees while a model loads: one line on standard error that is gone afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from qrt.cli.arguments import is_terminal
from qrt.progress import Progress

_QUIET_S = 0.3
_BETWEEN_S = 0.1
_ONCE = "compiling"
_BYTES = ("loading", "packing", "checking packed")
_CLEAR_LINE = "\r\x1b[K"


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Gives the callback to pass on. Work that is done within a moment shows nothing.

    Where standard error is no terminal, only compiling is told, in a line of its own.
    """
    if not is_terminal(sys.stderr):
        yield _tell
        return
    line = _Line()
    try:
        yield line.update
    finally:
        line.clear()


def _tell(what: str, done: int, total: int) -> None:
    if what.startswith(_ONCE) and done == 0:
        print(f"{what} ({total}, once) ...", file=sys.stderr, flush=True)


class _Line:
    """One line of a terminal, written over and over, ten times a second at most."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _QUIET_S
        self._is_shown = False

    def update(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total:
            self.clear()
        if done >= total or now < self._next:
            return
        self._next = now + _BETWEEN_S
        if what.startswith(_ONCE):
            text = f"{what} {done}/{total}, once"
        elif what.startswith(_BYTES):
            text = f"{what} {100 * done // total}%"
        else:
            text = f"{what} {done}/{total}"
        sys.stderr.write(_CLEAR_LINE + text)
        sys.stderr.flush()
        self._is_shown = True

    def clear(self) -> None:
        if self._is_shown:
            self._is_shown = False
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()
