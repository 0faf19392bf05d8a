"""How a command ends: an error in one line, the exit code, quiet when a user or a pipe stops it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from qrt.cli.output import printable
from qrt.errors import QrtError

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

_BROKEN_PIPE = 141
_NO_MEMORY = 3


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """`command`, leaving by SystemExit where the user, a file or the machine is in the way."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = command(*args, **kwargs)
            if sys.stdout is not None:
                sys.stdout.flush()
            return result
        except QrtError as error:
            print_error(str(error))
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:
            _forget_stdout()
            raise SystemExit(_BROKEN_PIPE) from None
        except MemoryError:
            print_error("there is not enough memory; try a smaller model or a shorter context")
            raise SystemExit(_NO_MEMORY) from None

    return run


def print_error(message: str) -> None:
    """`error: message` as one line on standard error."""
    print("error:", printable(" ".join(message.splitlines())), file=sys.stderr, flush=True)


def _forget_stdout() -> None:
    """Lets the flush at the end of the process go nowhere instead of failing again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
