"""How much memory this process may still take before the system ends it, and what says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from qrt.cgroups import groups

_UNLIMITED = 1 << 60
"""What stands for no limit in cgroup v1, or anything like it."""


class _Files(NamedTuple):
    """Where a group of cgroup v1 or v2 has its limits, its use, and what of that is cache."""

    limits: str
    used: str
    cache: str


_V1 = _Files(
    "memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file total_inactive_file"
)
_V2 = _Files(
    "memory.max memory.high", "memory.current", "active_file inactive_file slab_reclaimable"
)


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """`n_bytes` that may still be taken, as `limit` says; None where nothing does.

    Pages of files count as free: the system takes them back. `address_space` is what may still be
    mapped, files as well as memory, under RLIMIT_AS.
    """

    n_bytes: int | None = None
    limit: str = ""
    address_space: int | None = None


def free_memory(root: Path = Path("/")) -> FreeMemory:
    """The least that MemAvailable and the memory groups of this process leave.

    `root` is where proc and sys are mounted; a system that has none of these files says nothing.
    """
    found = [*_system(root), *(one for group in groups(root, "memory") for one in _group(group))]
    n_bytes, limit = min(found, default=(None, ""))
    return FreeMemory(n_bytes, limit, _address_space(root))


def _system(root: Path) -> Iterator[tuple[int, str]]:
    facts = _table(root / "proc/meminfo")
    if "MemAvailable" in facts:
        yield 1024 * facts["MemAvailable"], "available on this machine"


def _group(group: Path) -> Iterator[tuple[int, str]]:
    """What a group leaves: its limit without what it holds, of which files can be taken back."""
    stat = _table(group / "memory.stat")
    files = _V2 if (group / _V2.used).exists() else _V1
    limits = [_number(group / name) for name in files.limits.split()]
    used = _number(group / files.used)
    known = [limit for limit in limits if limit is not None and limit < _UNLIMITED]
    if known and used is not None:
        held = max(0, used - sum(stat.get(name, 0) for name in files.cache.split()))
        what = f"left of {min(known) / 1e9:.2f} GB of cgroup {group.name or group}"
        yield max(0, min(known) - held), what


def _address_space(root: Path) -> int | None:
    try:
        lines = (root / "proc/self/limits").read_text().splitlines()
        used_kb = _table(root / "proc/self/status")["VmSize"]
    except (OSError, KeyError):
        return None
    for line in lines:
        words = line.removeprefix("Max address space").split()
        if len(words) < len(line.split()) and words[0].isdecimal():
            return max(0, int(words[0]) - 1024 * used_kb)
    return None


def _table(path: Path) -> Mapping[str, int]:
    """The lines of a file that are a name and a whole number, perhaps with a colon and a unit."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    words = (line.replace(":", " ").split() for line in lines)
    return {word[0]: int(word[1]) for word in words if len(word) > 1 and word[1].isdecimal()}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
