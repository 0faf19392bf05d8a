"""What Ctrl-C does: a command gets KeyboardInterrupt; before it begins, the process just ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import ParamSpec, TypeVar

from qrt.cli import INTERRUPTED

P = ParamSpec("P")
R = TypeVar("R")

_IMPORTS = "<frozen importlib._bootstrap>"
_AT_LEAVING: list[Callable[[], None]] = []


def leave_quietly() -> None:
    """Lets Ctrl-C end the process, unless whoever started it has Ctrl-C ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def interruptible(command: Callable[P, R]) -> Callable[P, R]:
    """`command`, in which Ctrl-C raises KeyboardInterrupt where it would end the process."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if signal.getsignal(signal.SIGINT) is not _leave:
            return command(*args, **kwargs)
        signal.signal(signal.SIGINT, _interrupt)
        try:
            return command(*args, **kwargs)
        finally:
            signal.signal(signal.SIGINT, _leave)

    return run


@contextmanager
def leaving_calls(restore: Callable[[], None]) -> Iterator[None]:
    """Within the block, a Ctrl-C that ends the process calls `restore` first."""
    _AT_LEAVING.append(restore)
    try:
        yield
    finally:
        _AT_LEAVING.remove(restore)


def _leave(*_: object) -> None:
    for restore in _AT_LEAVING:
        restore()
    os._exit(INTERRUPTED)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, which an import under way could swallow or print: there, leaves."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            _leave()
        frame = frame.f_back
    raise KeyboardInterrupt
