"""Where the platform keeps what a program remembers of its user."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def state_dir() -> Path:
    """The directory of qrt there, made or not. Raises RuntimeError for a user without a home."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    if base.startswith("~") and os.environ.get("HOME") == "":  # which would be this directory
        raise RuntimeError("HOME is empty")
    return Path(base).expanduser() / "qrt"
