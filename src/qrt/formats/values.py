"""The types of GGUF metadata values."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ValueType:
    """A fixed-size metadata type, little-endian."""

    name: str
    code: int
    pack: struct.Struct
    dtype: str

    @property
    def size(self) -> int:
        return self.pack.size


def _scalar(name: str, code: int, char: str, dtype: str) -> ValueType:
    return ValueType(name, code, struct.Struct("<" + char), dtype)


SCALARS: tuple[ValueType, ...] = (
    _scalar("u8", 0, "B", "<u1"),
    _scalar("i8", 1, "b", "<i1"),
    _scalar("u16", 2, "H", "<u2"),
    _scalar("i16", 3, "h", "<i2"),
    _scalar("u32", 4, "I", "<u4"),
    _scalar("i32", 5, "i", "<i4"),
    _scalar("f32", 6, "f", "<f4"),
    _scalar("bool", 7, "B", "?"),
    _scalar("u64", 10, "Q", "<u8"),
    _scalar("i64", 11, "q", "<i8"),
    _scalar("f64", 12, "d", "<f8"),
)
SCALAR_BY_CODE: dict[int, ValueType] = {t.code: t for t in SCALARS}
SCALAR_BY_NAME: dict[str, ValueType] = {t.name: t for t in SCALARS}

STRING = 8
ARRAY = 9
