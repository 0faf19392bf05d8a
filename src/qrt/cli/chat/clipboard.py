"""The clipboard: by the platform's own tool, else by the terminal (OSC 52)."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from qrt.cli.arguments import is_terminal
from qrt.errors import InputError

_TOOLS: tuple[tuple[str | None, tuple[str, ...]], ...] = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("DISPLAY", ("xsel", "--clipboard", "--input")),
    (None, ("pbcopy",)),
    (None, ("clip.exe",)),
    ("TERMUX_VERSION", ("termux-clipboard-set",)),
)
"""Programs that read the clipboard's new text, and the variable that says whether they can work."""

_TOOL_S = 3.0
_MOST_BY_TERMINAL = 74_994
"""Bytes of base64 that terminals take; beyond, many take nothing."""


def copy_text(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Copies `text`; how. Raises InputError where there is no way."""
    if not environ.get("SSH_CONNECTION"):  # whose clipboard would be that of the other machine
        for variable, command in _TOOLS:
            if variable is not None and not environ.get(variable):
                continue
            program = shutil.which(command[0], path=environ.get("PATH"))
            if program and _runs([program, *command[1:]], text):
                return f"copied by {command[0]}"
    encoded = base64.b64encode(text.encode("utf-8", "replace"))
    if not is_terminal(sys.stdout) or len(encoded) > _MOST_BY_TERMINAL:
        raise InputError("there is no clipboard tool (wl-copy, xclip, pbcopy); /save writes a file")
    sys.stdout.write(f"\x1b]52;c;{encoded.decode()}\a")
    sys.stdout.flush()
    return "sent to the terminal's clipboard"


def _runs(command: list[str], text: str) -> bool:
    """Whether the program took the text. Its output goes nowhere: some stay, to serve it."""
    nowhere = subprocess.DEVNULL
    encoding = "utf-16" if command[0].endswith("clip.exe") else "utf-8"
    try:
        done = subprocess.run(
            command,
            input=text.encode(encoding, "replace"),
            stdout=nowhere,
            stderr=nowhere,
            timeout=_TOOL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
