"""What this machine offers to qrt: CPU, instruction tiers, backends, threads, cache, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from qrt.backends.cpu.tiers import cpu_name, is_shipped, obstacles, offered_features, tier_in_use
from qrt.backends.cpu.tuning import Tuning, read_tuning
from qrt.config import Env, cache_dir, cgroup_cpus, default_threads, read_env
from qrt.errors import QrtError
from qrt.free_memory import FreeMemory, free_memory

LIBRARIES = (
    *("numpy", "numba", "llvmlite", "tokenizers", "sentencepiece"),
    *("jinja2", "typer", "rich", "prompt-toolkit"),
)
_ABSENT_BACKENDS = ("cuda", "metal")


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that may be used; `why_not` is empty when it can be."""

    name: str
    why_not: str


@dataclass(frozen=True, slots=True)
class Cache:
    """The compiled kernels on disk."""

    directory: str
    n_kernels: int
    n_bytes: int
    is_shipped: bool
    """Whether usual kernels of the tier came with qrt, so that a first start compiles none."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts, and the `problems` that keep qrt from running as it should."""

    cpu: str
    features: tuple[str, ...]
    """Those that some tier asks for and this CPU has."""
    tier: str
    """The one in use; empty if none can be."""
    tiers: tuple[Choice, ...]
    backends: tuple[Choice, ...]
    n_threads: int
    cgroup_cpus: float | None
    memory: FreeMemory
    cache: Cache | None
    tuning: Tuning | None
    versions: dict[str, str]
    problems: tuple[str, ...]


def examine() -> Machine:
    """Looks at everything without changing it, but for making the cache directory."""
    problems: list[str] = []
    tier, cache, tuning, env = "", None, None, Env()
    try:
        env = read_env()
    except QrtError as error:
        problems.append(str(error))
    try:
        tier = tier_in_use(env)
    except QrtError as error:
        problems.append(str(error))
    try:
        cache = _cache(cache_dir(env), tier)
    except QrtError as error:
        problems.append(str(error))
    try:
        tuning = read_tuning(env) if tier and cache else None
    except QrtError as error:
        problems.append(str(error))
    return Machine(
        cpu=cpu_name(),
        features=offered_features(),
        tier=tier,
        tiers=tuple(Choice(*pair) for pair in obstacles().items()),
        backends=tuple(_backends(tier)),
        n_threads=default_threads(env),
        cgroup_cpus=cgroup_cpus(),
        memory=free_memory(),
        cache=cache,
        tuning=tuning,
        versions={"python": platform.python_version(), **dict(_versions())},
        problems=tuple(problems),
    )


def _backends(tier: str) -> Iterator[Choice]:
    yield Choice("cpu", "" if tier else "no instruction tier can be used")
    yield Choice("reference", "")
    for name in _ABSENT_BACKENDS:
        yield Choice(name, "not included in this version")


def _cache(directory: Path, tier: str) -> Cache:
    sizes = [path.stat().st_size for path in directory.glob("*/*.o")]
    return Cache(str(directory), len(sizes), sum(sizes), bool(tier) and is_shipped(tier))


def _versions() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "missing"
