"""The `qrt` command: a thin face on the api and the tools."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs the command line of this process and exits."""
    from qrt.cli.guard import guarded

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that it cannot show is no error
    guarded(_run)()


def _run() -> None:
    from qrt.cli.app import app

    app(prog_name="qrt")
