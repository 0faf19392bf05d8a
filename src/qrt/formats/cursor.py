"""Reads the fields of a GGUF header one after another, never past the end of the file."""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qrt.errors import GGUFError
from qrt.formats.lazy import LazyStrings
from qrt.formats.limits import MAX_ARRAY_LEN, MAX_HEADER_BYTES, max_string_bytes
from qrt.formats.stored import StoredFile
from qrt.formats.values import ARRAY, SCALAR_BY_CODE, STRING, ValueType

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


_FIRST_BYTES = 1 << 18
_MORE_BYTES = 1 << 22


class Cursor:
    """A position in a file; every read moves it on or raises a GGUFError that names it."""

    def __init__(self, file: StoredFile) -> None:
        self.path: Path = file.path
        self.file = file
        self.size = file.n_bytes
        self.buffer = bytearray()  # what was read of the file so far
        self.pos = 0

    def _fetch(self, end: int) -> None:
        """Has at least the bytes before `end` in the buffer, as far as the file goes."""
        have = len(self.buffer)
        if end <= have or have == self.size:
            return
        if end > MAX_HEADER_BYTES:
            problem = f"the header goes on here, at most {MAX_HEADER_BYTES} bytes are allowed"
            raise self.error("header", have, problem)
        ahead = min(max(have, _FIRST_BYTES), _MORE_BYTES)
        more = bytearray(min(max(end, have + ahead), self.size) - have)
        self.file.read_into(memoryview(more), have)
        self.buffer += more

    def header(self) -> bytearray:
        """All that was passed; what was read ahead is let go."""
        del self.buffer[self.pos :]
        return self.buffer

    def error(self, field: str, at: int, problem: str) -> GGUFError:
        """The one line that says which field of which file is wrong, where and how."""
        return GGUFError(f"{self.path}: {field} at byte {at}: {problem}")

    def need(self, field: str, n: int) -> int:
        """Checks that n more bytes exist; returns where they start."""
        if n > self.size - self.pos:
            left = self.size - self.pos
            problem = f"needs {n} bytes, the file has {left} left; it is truncated or corrupt"
            raise self.error(field, self.pos, problem)
        self._fetch(self.pos + n)
        return self.pos

    def count(self, field: str, item_bytes: int) -> int:
        """A u64 that counts items of at least `item_bytes`, as many as the file can hold."""
        n = self.u64(field)
        if n * item_bytes > self.size - self.pos:
            problem = f"{n} is more than the rest of the file can hold"
            raise self.error(field, self.pos - 8, problem)
        return n

    def u32(self, field: str) -> int:
        value: int = _U32.unpack_from(self.buffer, self.need(field, 4))[0]
        self.pos += 4
        return value

    def u64(self, field: str) -> int:
        value: int = _U64.unpack_from(self.buffer, self.need(field, 8))[0]
        self.pos += 8
        return value

    def string(self, field: str, limit: int) -> str:
        """A string of at most `limit` bytes of UTF-8."""
        start, n = self.pos, self.u64(field)
        if n > limit:
            raise self.error(field, start, f"is {n} bytes long, at most {limit} are allowed")
        begin = self.need(field, n)
        self.pos += n
        try:
            return str(self.buffer[begin : self.pos], "utf-8")
        except UnicodeDecodeError as e:
            raise self.error(field, begin + e.start, "is not valid UTF-8") from None

    def value(self, key: str) -> tuple[str, object]:
        """A metadata value with its type before it: (type name, value)."""
        field = f"metadata {key!r}"
        at, code = self.pos, self.u32(field)
        if code == STRING:
            return "string", self.string(field, max_string_bytes(key))
        if code == ARRAY:
            return self._array(field, key)
        scalar = SCALAR_BY_CODE.get(code)
        if scalar is None:
            raise self.error(field, at, f"value type {code} is unknown, expected 0 to 12")
        return scalar.name, self._scalar(field, scalar)

    def _scalar(self, field: str, scalar: ValueType) -> object:
        at = self.need(field, scalar.size)
        value = scalar.pack.unpack_from(self.buffer, at)[0]
        self.pos += scalar.size
        if scalar.name != "bool":
            return value
        if value > 1:
            raise self.error(field, at, f"a bool must be 0 or 1, got {value}")
        return bool(value)

    def _array(self, field: str, key: str) -> tuple[str, object]:
        at, code = self.pos, self.u32(field)
        scalar = SCALAR_BY_CODE.get(code)
        if scalar is None and code != STRING:
            what = "arrays of arrays are" if code == ARRAY else f"element type {code} is"
            raise self.error(field, at, f"{what} not supported")
        item_bytes = scalar.size if scalar else 8
        n = self.count(field, item_bytes)
        if n > MAX_ARRAY_LEN:
            problem = f"has {n} elements, at most {MAX_ARRAY_LEN} are allowed"
            raise self.error(field, self.pos - 8, problem)
        if scalar is None:
            return "[string]", self._strings(field, n, max_string_bytes(key))
        return f"[{scalar.name}]", self._numbers(field, scalar, n)

    def _numbers(self, field: str, scalar: ValueType, n: int) -> NDArray[np.generic]:
        at = self.need(field, n * scalar.size)
        self.pos += n * scalar.size
        raw = np.frombuffer(bytes(self.buffer[at : self.pos]), np.uint8)
        if scalar.name == "bool" and n and raw.max() > 1:
            raise self.error(field, at, f"a bool must be 0 or 1, got {raw.max()}")
        return raw.view(scalar.dtype)

    def _strings(self, field: str, n: int, limit: int) -> LazyStrings:
        """Walks over n strings by their lengths alone; this is most of the time of opening."""
        buffer, unpack, pos = self.buffer, _U64.unpack_from, self.pos
        edges = [pos]
        while len(edges) <= n and pos <= self.size - 8:
            self._fetch(pos + 8)
            with suppress(struct.error, OverflowError):  # past what was read, or past the file
                for _ in range(n + 1 - len(edges)):
                    pos += 8 + unpack(buffer, pos)[0]
                    edges.append(pos)
        if len(edges) <= n or pos > self.size:
            raise self._bad_string(field, edges, limit)
        as_array = np.array(edges, np.int64)
        if n and np.diff(as_array).max() > limit + 8:
            raise self._bad_string(field, edges, limit)
        self._fetch(pos)
        self.pos = pos
        return LazyStrings(buffer, as_array, f"{self.path}: {field}")

    def _bad_string(self, field: str, edges: list[int], limit: int) -> GGUFError:
        """Names the first string that is too long or passes the end of the file."""
        for i, (start, end) in enumerate(pairwise(edges)):
            n, left = end - start - 8, self.size - start - 8
            if n > limit:
                problem = f"is {n} bytes long, at most {limit} are allowed"
                return self.error(f"{field}[{i}]", start, problem)
            if n > left:
                problem = f"needs {n} bytes, the file has {left} left"
                return self.error(f"{field}[{i}]", start, problem)
        return self.error(f"{field}[{len(edges) - 1}]", edges[-1], "the file ends here")
