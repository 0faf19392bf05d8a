"""Puts the archives of object code that `release/objects.py` made, if any, into a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Objects(BuildHookInterface):
    """A wheel of a checkout (`pip install -e`) gets none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            for path in Path(self.root, "build", "objects").glob("*.tar.xz"):
                build_data["force_include"][str(path)] = f"qrt/data/objects/{path.name}"
