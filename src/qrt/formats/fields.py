"""Typed reads of metadata: a missing key or a value of the wrong kind is named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from qrt.errors import GGUFError
from qrt.formats.lazy import LazyStrings

T = TypeVar("T")


class _Required:
    """Stands for 'no default: the key must be there'."""


REQUIRED = _Required()


class Metadata(Mapping[str, object]):
    """The metadata of a file: int, float, bool and str as Python has them, arrays of strings as
    LazyStrings, arrays of numbers as read-only NumPy views (which may be unaligned).

    `types` names each value's type in the file: "u32", "string", "[f32]" ...
    """

    def __init__(self, path: Path, values: Mapping[str, object], types: Mapping[str, str]) -> None:
        self.path = path
        self.types = types
        self._values = values

    def __getitem__(self, key: str) -> object:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Metadata of {self.path}: {len(self)} keys>"


@overload
def metadata_int(
    meta: Mapping[str, object], key: str, *, min: int | None = ..., max: int | None = ...
) -> int: ...
@overload
def metadata_int(
    meta: Mapping[str, object],
    key: str,
    *,
    default: T,
    min: int | None = ...,
    max: int | None = ...,
) -> int | T: ...
def metadata_int(
    meta: Mapping[str, object],
    key: str,
    *,
    default: object = REQUIRED,
    min: int | None = None,
    max: int | None = None,
) -> object:
    """An integer within min..max; `default` where the key is absent. Raises GGUFError."""
    if key not in meta:
        return _default(meta, key, "an integer", default)
    value = meta[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise _mismatch(meta, key, "an integer")
    _check_range(meta, key, value, min, max)
    return value


@overload
def metadata_float(
    meta: Mapping[str, object], key: str, *, min: float | None = ..., max: float | None = ...
) -> float: ...
@overload
def metadata_float(
    meta: Mapping[str, object],
    key: str,
    *,
    default: T,
    min: float | None = ...,
    max: float | None = ...,
) -> float | T: ...
def metadata_float(
    meta: Mapping[str, object],
    key: str,
    *,
    default: object = REQUIRED,
    min: float | None = None,
    max: float | None = None,
) -> object:
    """A finite float within min..max; `default` where the key is absent. Raises GGUFError."""
    if key not in meta:
        return _default(meta, key, "a float", default)
    value = meta[key]
    if not isinstance(value, float) or not math.isfinite(value):
        raise _mismatch(meta, key, "a finite float")
    _check_range(meta, key, value, min, max)
    return value


@overload
def metadata_str(meta: Mapping[str, object], key: str) -> str: ...
@overload
def metadata_str(meta: Mapping[str, object], key: str, *, default: T) -> str | T: ...
def metadata_str(meta: Mapping[str, object], key: str, *, default: object = REQUIRED) -> object:
    """A string; `default` where the key is absent. Raises GGUFError."""
    return _plain(meta, key, str, "a string", default)


@overload
def metadata_bool(meta: Mapping[str, object], key: str) -> bool: ...
@overload
def metadata_bool(meta: Mapping[str, object], key: str, *, default: T) -> bool | T: ...
def metadata_bool(meta: Mapping[str, object], key: str, *, default: object = REQUIRED) -> object:
    """A bool; `default` where the key is absent. Raises GGUFError."""
    return _plain(meta, key, bool, "a bool", default)


@overload
def metadata_strings(meta: Mapping[str, object], key: str) -> LazyStrings: ...
@overload
def metadata_strings(meta: Mapping[str, object], key: str, *, default: T) -> LazyStrings | T: ...
def metadata_strings(meta: Mapping[str, object], key: str, *, default: object = REQUIRED) -> object:
    """An array of strings, still in the file; `default` where it is absent. Raises GGUFError."""
    return _plain(meta, key, LazyStrings, "an array of strings", default)


Kind = Literal["int", "float", "bool"]
_KINDS: dict[Kind, str] = {"int": "iu", "float": "f", "bool": "b"}


@overload
def metadata_array(meta: Mapping[str, object], key: str, kind: Kind) -> NDArray[Any]: ...
@overload
def metadata_array(
    meta: Mapping[str, object], key: str, kind: Kind, *, default: T
) -> NDArray[Any] | T: ...
def metadata_array(
    meta: Mapping[str, object], key: str, kind: Kind, *, default: object = REQUIRED
) -> object:
    """An array (n,) of one kind of number, of the file's own width; `default` where it is absent.

    Raises GGUFError.
    """
    wanted = f"an array of {kind}"
    value = _plain(meta, key, np.ndarray, wanted, default)
    if isinstance(value, np.ndarray) and key in meta and value.dtype.kind not in _KINDS[kind]:
        raise _mismatch(meta, key, wanted)
    return value


def _plain(
    meta: Mapping[str, object], key: str, kind: type, expected: str, default: object
) -> object:
    if key not in meta:
        return _default(meta, key, expected, default)
    if not isinstance(meta[key], kind):
        raise _mismatch(meta, key, expected)
    return meta[key]


def _default(meta: Mapping[str, object], key: str, expected: str, default: object) -> object:
    if isinstance(default, _Required):
        raise GGUFError(f"{_where(meta, key)} is missing, expected {expected}")
    return default


def _check_range(
    meta: Mapping[str, object], key: str, value: float, low: float | None, high: float | None
) -> None:
    if (low is None or value >= low) and (high is None or value <= high):
        return
    if low is None or high is None:
        expected = f"at least {low}" if high is None else f"at most {high}"
    else:
        expected = f"{low} to {high}" if low != high else f"{low}"
    raise GGUFError(f"{_where(meta, key)} is {value}, expected {expected}")


def _mismatch(meta: Mapping[str, object], key: str, expected: str) -> GGUFError:
    value = meta[key]
    kind = meta.types[key] if isinstance(meta, Metadata) else type(value).__name__
    got = repr(value) if isinstance(value, (bool, int, float, str)) else "an array"
    shown = got if len(got) <= 60 else got[:57] + "..."
    return GGUFError(f"{_where(meta, key)}: expected {expected}, got {shown} ({kind})")


def _where(meta: Mapping[str, object], key: str) -> str:
    file = f"{meta.path}: " if isinstance(meta, Metadata) else ""
    return f"{file}metadata {key!r}"
