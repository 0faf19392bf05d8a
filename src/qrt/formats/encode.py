"""Turns metadata values into the bytes of a GGUF header."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from qrt.errors import GGUFError
from qrt.formats import limits
from qrt.formats.lazy import LazyStrings
from qrt.formats.values import ARRAY, SCALAR_BY_NAME, STRING, ValueType

_U64 = struct.Struct("<Q")
_NUMPY_TYPES = {np.dtype(t.dtype): f"[{t.name}]" for t in SCALAR_BY_NAME.values()}
_LIST_TYPES = {str: "[string]", bytes: "[string]", bool: "[bool]", int: "[i32]", float: "[f32]"}


@dataclass(frozen=True, slots=True)
class Typed:
    """A metadata value with its type spelled out: `Typed("u64", 5)`, `Typed("[f32]", scores)`."""

    type: str
    value: Any


def encode_entry(key: str, value: object) -> bytes:
    """A key with its value; GGUFError for what its type cannot hold."""
    if not key:
        raise GGUFError("a metadata key is empty")
    name = encode_string("metadata key", key, limits.MAX_KEY_BYTES)
    typed = value if isinstance(value, Typed) else Typed(_infer(key, value), value)
    try:
        return name + _encode(key, typed)
    except (TypeError, ValueError, KeyError, ArithmeticError) as e:
        problem = f"{type(typed.value).__name__} cannot be written as {typed.type}: {e}"
        raise GGUFError(f"metadata {key!r}: {problem}") from e


def encode_string(what: str, text: str | bytes, limit: int) -> bytes:
    """A length and UTF-8 bytes; `what` names the string in the error when it is too long."""
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > limit:
        raise GGUFError(f"{what}: is {len(raw)} bytes long, at most {limit} are allowed")
    return _U64.pack(len(raw)) + raw


def _infer(key: str, value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "u32" if value >= 0 else "i32"
        case float():
            return "f32"
        case str():
            return "string"
        case LazyStrings():
            return "[string]"
        case np.ndarray() if value.dtype in _NUMPY_TYPES:
            return _NUMPY_TYPES[value.dtype]
        case [first, *_] if type(first) in _LIST_TYPES:
            return _LIST_TYPES[type(first)]
    raise GGUFError(f"metadata {key!r}: say the type of this {type(value).__name__} with Typed")


def _encode(key: str, typed: Typed) -> bytes:
    what, limit = f"metadata {key!r}", limits.max_string_bytes(key)
    if typed.type == "string":
        return struct.pack("<I", STRING) + encode_string(what, typed.value, limit)
    if typed.type in SCALAR_BY_NAME:
        scalar = SCALAR_BY_NAME[typed.type]
        return struct.pack("<I", scalar.code) + _numbers(scalar, typed.value, n_dims=0)
    n = len(typed.value)
    if n > limits.MAX_ARRAY_LEN:
        raise ValueError(f"{n} elements, at most {limits.MAX_ARRAY_LEN} are allowed")
    element = typed.type.removeprefix("[").removesuffix("]")
    if element == "string":
        items = typed.value.raw() if isinstance(typed.value, LazyStrings) else typed.value
        strings = [encode_string(what, item, limit) for item in items]
        return struct.pack("<IIQ", ARRAY, STRING, n) + b"".join(strings)
    scalar = SCALAR_BY_NAME[element]
    return struct.pack("<IIQ", ARRAY, scalar.code, n) + _numbers(scalar, typed.value, n_dims=1)


def _numbers(scalar: ValueType, value: Any, n_dims: int) -> bytes:
    numbers = np.asarray(value)
    if numbers.ndim != n_dims:
        raise ValueError(f"{numbers.ndim} dimensions, expected {n_dims}")
    if numbers.dtype.kind == "f" and np.dtype(scalar.dtype).kind != "f":
        numbers = np.asarray(value, object)  # 2**63 beside smaller numbers would become a float
    with np.errstate(over="raise", invalid="raise"):
        cast = numbers.astype(scalar.dtype)
    if cast.dtype.kind != "f" and not np.array_equal(cast, numbers):
        raise ValueError("a value is out of range")
    return cast.tobytes()
