"""JSON values through a pipe, each behind its length."""

from __future__ import annotations

import json
from struct import Struct
from typing import IO, Any

_LENGTH = Struct(">Q")


def write_frame(pipe: IO[bytes], value: object) -> None:
    """Sends `value`. Raises OSError for a closed pipe."""
    data = json.dumps(value).encode()
    rest = memoryview(_LENGTH.pack(len(data)) + data)
    while rest:
        rest = rest[pipe.write(rest) :]
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> Any:
    """The next value. Raises EOFError where none comes any more."""
    return json.loads(_read(pipe, _LENGTH.unpack(_read(pipe, _LENGTH.size))[0]))


def _read(pipe: IO[bytes], size: int) -> bytes:
    parts = []
    while size:
        part = pipe.read(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
