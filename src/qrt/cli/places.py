"""Where the platform keeps what a program remembers of its user."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def state_dir() -> Path:
    """The directory of qrt there, made or not. Raises RuntimeError for a user without a home."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "qrt"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/qrt").expanduser()
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "qrt"
