"""Where the platform keeps what a program remembers of its user, is told by them and holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def state_dir() -> Path:
    """What is remembered of a user, made or not. Raises RuntimeError for one without a home."""
    return _dir("XDG_STATE_HOME", ".local/state")


def config_dir() -> Path:
    """What a user writes for qrt to read, made or not. Raises RuntimeError as above."""
    return _dir("XDG_CONFIG_HOME", ".config")


def data_dir() -> Path:
    """What a user gave qrt to hold, made or not. Raises RuntimeError as above."""
    return _dir("XDG_DATA_HOME", ".local/share")


def _dir(variable: str, below_home: str) -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get(variable) or f"~/{below_home}"
    if base.startswith("~") and os.environ.get("HOME") == "":  # which would be this directory
        raise RuntimeError("HOME is empty")
    return Path(base).expanduser() / "qrt"
