"""The control groups that limit this process, of cgroup v1 and v2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those above it that may limit `controller`.

    `root` is where proc and sys are mounted. A container may see its own group as the topmost, and
    no folder at the path that the system tells; such folders are among the result.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        parts = Path(path).parts[1:]
        for depth in range(len(parts) + 1):
            yield mount.joinpath(*parts[:depth])
