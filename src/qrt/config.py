"""Environment variables, default threads, the cache directory and the files inside the package."""

from __future__ import annotations

import os
import re
import reprlib
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, BinaryIO

from qrt.cgroups import groups
from qrt.errors import BackendError, InputError

MAX_THREADS = 1024
EMBEDDED = ("pydoc", "embed")
"""The names of the models inside this package: one that answers, and one that embeds."""


@dataclass(frozen=True, slots=True)
class Env:
    """What the environment asks for; None where it says nothing."""

    isa: str | None = None
    cache_dir: Path | None = None
    n_threads: int | None = None
    pack_cache: bool | None = None


def _path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("an absolute path")
    return path


def _threads(text: str) -> int:
    if not (re.fullmatch("[0-9]{1,4}", text) and 1 <= int(text) <= MAX_THREADS):
        raise ValueError(f"a whole number from 1 to {MAX_THREADS}")
    return int(text)


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


@dataclass(frozen=True, slots=True)
class Knob:
    """One environment variable: `parse` raises ValueError saying what it expected."""

    variable: str
    field: str
    parse: Callable[[str], object]
    help: str


KNOBS = (
    Knob("QRT_ISA", "isa", str, "instruction tier to compile for, instead of the best one"),
    Knob("QRT_CACHE_DIR", "cache_dir", _path, "directory for compiled kernels and packed weights"),
    Knob("QRT_THREADS", "n_threads", _threads, "threads to use when none are asked for"),
    Knob("QRT_PACK_CACHE", "pack_cache", _switch, "1 keeps packed weights, 0 uses none kept"),
)


def read_env(environ: Mapping[str, str] = os.environ) -> Env:
    """The knobs that are set; an empty variable counts as unset. Raises InputError naming one."""
    found: dict[str, Any] = {}
    for knob in KNOBS:
        text = environ.get(knob.variable, "")
        if not text:
            continue
        try:
            found[knob.field] = knob.parse(text)
        except ValueError as expected:
            got = reprlib.repr(text)
            raise InputError(f"{knob.variable}: expected {expected}, got {got}") from None
    return Env(**found)


def default_threads(env: Env | None = None) -> int:
    """Threads to use when none are asked for: QRT_THREADS, else the CPUs this process may use.

    Counts the CPUs of the affinity mask, at most the whole CPUs in the cgroup quota, at least 1.
    """
    env = env or read_env()
    if env.n_threads is not None:
        return env.n_threads
    if sys.platform == "linux":
        n_cpus = len(os.sched_getaffinity(0))
        quota = cgroup_cpus()
    else:
        n_cpus, quota = os.cpu_count() or 1, None
    return max(1, n_cpus if quota is None else min(n_cpus, int(quota)))


def cgroup_cpus(root: Path = Path("/")) -> float | None:
    """CPUs that the cgroup of this process and its ancestors grant (v2 and v1), None: unlimited."""
    quotas = (_quota(group) for group in groups(root, "cpu"))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or "max"
        return None


def cache_dir(env: Env | None = None) -> Path:
    """The directory for compiled kernels: 0700, ours alone.

    QRT_CACHE_DIR, else the user's cache directory, else one under the temporary directory when
    that cannot be written. Raises BackendError when it belongs to someone else or others may
    write to it (code in it is executed), or when nothing is writable.
    """
    env = env or read_env()
    candidates = [env.cache_dir] if env.cache_dir else [*_user_cache(), _temporary_cache()]
    for path in candidates:
        try:
            private_dir(path)
        except OSError:
            continue
        if os.access(path, os.W_OK | os.X_OK):
            return path
    tried = " or ".join(str(path) for path in candidates)
    raise BackendError(f"cannot write compiled kernels to {tried}: set QRT_CACHE_DIR")


def private_dir(path: Path, cure: str = "set QRT_CACHE_DIR to one of your own") -> None:
    """Makes a directory that is ours alone, with those above it.

    Raises BackendError, which tells the `cure`, where there is one that belongs to someone else or
    that others may write to, OSError where it cannot be made.
    """
    if not os.path.lexists(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(path, cure)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file, ours alone, that takes the place of `path` once all of it is on the disk.

    Raises OSError, and leaves nothing behind then.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if sys.platform != "win32":  # where a directory cannot be opened
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def embedded_model(name: str = EMBEDDED[0]) -> Traversable:
    """The GGUF file of a model inside this package; the first stands in where none is named."""
    return resources.files("qrt") / "data" / f"{name}.gguf"


def _user_cache() -> list[Path]:
    """Where the platform keeps caches; nowhere for a user without a home."""
    home = _home()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or (home and home / "AppData/Local")
        return [Path(local) / "qrt" / "cache"] if local else []
    if sys.platform == "darwin":
        return [home / "Library" / "Caches" / "qrt"] if home else []
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute() and home:
        base = home / ".cache"
    return [base / "qrt"] if base.is_absolute() else []


def _home() -> Path | None:
    """The user's own directory; an empty HOME, which the library reads as the root, names none."""
    if sys.platform != "win32" and os.environ.get("HOME") == "":
        return None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_absolute() else None


def _temporary_cache() -> Path:
    name = "qrt" if sys.platform == "win32" else f"qrt-{os.geteuid()}"
    return Path(tempfile.gettempdir()) / name


def check_private(path: Path, cure: str = "set QRT_CACHE_DIR to one of your own") -> None:
    """Raises BackendError where `path` is not a directory of ours that others cannot write to."""
    if sys.platform == "win32":  # the profile directory carries its own access list
        return
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        problem = "is a link or a file, not a directory"
    elif info.st_uid != os.geteuid():
        problem = "belongs to another user"
    elif info.st_mode & 0o022:
        problem = "may be written by others (chmod 700 it)"
    else:
        return
    raise BackendError(f"cache directory {path} {problem}: {cure}")
