"""Asks before something that cannot be undone or takes long."""

from __future__ import annotations

import sys

from qrt.cli.arguments import is_terminal
from qrt.cli.output import printable
from qrt.errors import InputError


def can_ask() -> bool:
    """Whether a person sees a question and can answer it."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def confirm(question: str, yes: bool, *, default: bool = False) -> bool:
    """Whether the person agrees; `yes` is `--yes`, `default` what an empty line says.

    Raises InputError where nobody can be asked.
    """
    if yes:
        return True
    if not can_ask():
        raise InputError(f"{question} --yes says so")
    choices = "[Y/n]" if default else "[y/N]"
    print(printable(question), choices, end=" ", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    answer = line.strip().lower()
    return answer in ("y", "yes") or (default and line == "\n")
