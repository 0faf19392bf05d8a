"""Asks before something that cannot be undone or takes long."""

from __future__ import annotations

import sys

from qrt.cli.arguments import is_terminal
from qrt.cli.output import printable
from qrt.errors import InputError


def confirm(question: str, yes: bool) -> bool:
    """Whether the person agrees; `yes` is `--yes`. Raises InputError where nobody can be asked."""
    if yes:
        return True
    if not is_terminal(sys.stdin):
        raise InputError(f"{question} --yes says so")
    print(printable(question), "[y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
