"""The choices that `qrt tune` measured on this machine: a JSON file beside the compiled kernels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from qrt.backends.base import Choices
from qrt.backends.cpu.tiers import cpu_name
from qrt.config import Env, cache_dir, default_threads, replacing
from qrt.errors import BackendError
from qrt.kernels.isa import choose, host_features
from qrt.kernels.objects import cache_key

FILE = "tuned.json"
MAX_PREFILL_ROWS = 4096

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Host:
    """What measured choices hold for: any difference makes them stale."""

    cpu: str
    features: str
    n_cpus: int
    kernels: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """The choices in force. `state` is "stale" where measured ones are for another host."""

    state: Literal["default", "tuned", "stale"]
    path: str
    date: str
    """When they were measured; empty for the defaults."""
    choices: Choices
    """Without a None."""


def tuning_path(env: Env) -> Path:
    """Where the choices of this machine are kept. Raises BackendError as `cache_dir` does."""
    return cache_dir(env) / FILE


def this_host(env: Env) -> Host:
    """The CPU, its features, the CPUs that may be used, and the hash of the kernels."""
    features = " ".join(sorted(host_features()))
    return Host(cpu_name(), features, n_cpus(env), cache_key(choose(env.isa)))


def n_cpus(env: Env) -> int:
    """The CPUs that this process may use, whatever QRT_THREADS says."""
    return default_threads(replace(env, n_threads=None))


def defaults(env: Env) -> Choices:
    """The choices of a machine that was never measured, without a None."""
    n = default_threads(env)
    return Choices(prefill_threads=n, decode_threads=n)


def allowed(env: Env) -> dict[str, range]:
    """The values that each choice may have on this machine."""
    threads = range(1, n_cpus(env) + 1)
    return {
        "prefill_rows": range(1, MAX_PREFILL_ROWS + 1),
        "prefill_threads": threads,
        "decode_threads": threads,
    }


def read_tuning(env: Env, n_threads: int | None = None) -> Tuning:
    """The choices in force; `n_threads`, or else QRT_THREADS, goes before measured threads.

    Raises BackendError naming the file where it is damaged or holds what cannot be.
    """
    found = _read(tuning_path(env), env)
    asked = env.n_threads if n_threads is None else n_threads
    if asked is None:
        return found
    choices = replace(found.choices, prefill_threads=asked, decode_threads=asked)
    return replace(found, choices=choices)


def write_tuning(path: Path, document: Mapping[str, object]) -> None:
    """Stores a document, whole or not at all. Raises BackendError where that fails."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise BackendError(f"{path}: cannot be written: {error.strerror or error}") from None


def remove_tuning(path: Path) -> None:
    """Goes back to the defaults. Raises BackendError where the file cannot be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BackendError(f"{path}: cannot be removed: {error.strerror or error}") from None


def _read(path: Path, env: Env) -> Tuning:
    usual = defaults(env)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return Tuning("default", str(path), "", usual)
    except OSError as error:
        raise _damaged(path, f"cannot be read: {error.strerror or error}") from None
    try:
        document = json.loads(data) if len(data) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        document = None
    match document:
        case {"host": dict(host), "date": str(date), "choices": dict(choices)}:
            if host != asdict(this_host(env)):
                return Tuning("stale", str(path), date, usual)
            measured = _checked(path, choices, allowed(env))
            return Tuning("tuned", str(path), date, replace(usual, **measured))
    raise _damaged(path, "is not what `qrt tune` writes")


def _checked(path: Path, choices: dict[str, Any], known: dict[str, range]) -> dict[str, int]:
    """The value of every choice in the file."""
    values = {}
    for name, record in choices.items():
        if name not in known:
            raise _damaged(path, f"unknown choice {name!r:.40}")
        value = record.get("value") if isinstance(record, dict) else None
        if type(value) is not int or value not in known[name]:
            expected = f"a whole number from {known[name][0]} to {known[name][-1]}"
            raise _damaged(path, f"{name}: expected {expected}, got {value!r:.40}")
        values[name] = value
    return values


def _damaged(path: Path, what: str) -> BackendError:
    return BackendError(f"{path}: {what}; `qrt tune --reset` removes it, `qrt tune` makes it anew")
