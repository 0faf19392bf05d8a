"""Keys typed while a chat loads or answers: they are not shown, and wait for the next prompt."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qrt.cli.arguments import is_terminal
from qrt.cli.interrupts import leaving_calls

_MARK_PASTES, _LEAVE_PASTES = "\x1b[?2004h", "\x1b[?2004l"
"""Whether a terminal says where a paste begins and ends, so that its line ends send nothing."""


@contextmanager
def keys_wait() -> Iterator[None]:
    """Until the end of the block, the terminal keeps what is typed or pasted as it comes.

    Ctrl-C interrupts as ever. Where standard input is no terminal, nothing changes.
    """
    try:
        import termios
    except ImportError:  # Windows, where a console keeps keys as they are
        yield
        return
    if not is_terminal(sys.stdin):
        yield
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def restore() -> None:
        mark_pastes(False)
        termios.tcsetattr(number, termios.TCSANOW, before)

    waiting = termios.tcgetattr(number)
    waiting[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
    waiting[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    with leaving_calls(restore):
        try:
            termios.tcsetattr(number, termios.TCSANOW, waiting)
            mark_pastes(True)
            yield
        finally:
            restore()


def mark_pastes(on: bool) -> None:
    """Asks the terminal to mark pastes, as a prompt does that ends by asking for no marks."""
    if is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb" and os.name == "posix":
        sys.stdout.write(_MARK_PASTES if on else _LEAVE_PASTES)
        sys.stdout.flush()
