"""The `qrt` command: a thin face on the api and the tools.

Here is nothing but what leads to `main`, under which Ctrl-C is quiet: the rest is imported there.
"""

from __future__ import annotations

import io
import os
import sys
from functools import partial

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def main() -> None:
    """Runs the command line of this process and exits."""
    try:
        from qrt.cli.interrupts import leave_quietly

        leave_quietly()
        _prepare_streams()
        from qrt.cli.guard import guarded

        guarded(_run)()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def _run() -> None:
    from qrt.cli.app import app

    if "_QRT_COMPLETE" in os.environ:
        from qrt.cli.completion import complete

        complete(partial(app, prog_name="qrt"))
    else:
        app(prog_name="qrt")


def _prepare_streams() -> None:
    """Opens to nowhere what was closed, lest the next file that is opened takes its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, name, nowhere)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that it cannot show is no error
