"""How a command ends: an error in one line, the exit code, quiet when a user or a pipe stops it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TextIO, TypeVar

from qrt.cli import INTERRUPTED
from qrt.cli.output import printable, say
from qrt.errors import QrtError

P = ParamSpec("P")
R = TypeVar("R")

_BROKEN_PIPE = 141
_MACHINE = 3
"""Exit code where memory, a disk or a device is in the way."""

_MAX_MESSAGE = 1000


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """`command`, leaving by SystemExit where the user, a file or the machine is in the way."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                return command(*args, **kwargs)
            finally:
                sys.stdout.flush()
        except QrtError as error:
            print_error(str(error))
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:
            _forget(sys.stdout)
            raise SystemExit(_BROKEN_PIPE) from None
        except OSError as error:
            _forget(sys.stdout)
            where = error.filename or "reading or writing failed"
            print_error(f"{where}: {error.strerror or error}")
            raise SystemExit(_MACHINE) from None
        except MemoryError:
            print_error("there is not enough memory; try a smaller model or a shorter context")
            raise SystemExit(_MACHINE) from None

    return run


def print_error(message: str) -> None:
    """`error: message` as one line on standard error, which a terminal shows wrapped between
    words; of a long one, the start and the end.
    """
    line = " ".join(message.splitlines())
    if len(line) > _MAX_MESSAGE:
        half = _MAX_MESSAGE // 2
        line = f"{line[:half]} ... {line[-half:]}"
    try:
        say(sys.stderr, f"error: {printable(line)}")
    except OSError:  # there is nowhere left to say it
        _forget(sys.stderr)


def _forget(stream: TextIO) -> None:
    """Lets the flush at the end of the process go nowhere instead of failing again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
