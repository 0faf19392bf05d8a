"""Writes GGUF files (version 3), tensor by tensor, without holding them in memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qrt.errors import GGUFError
from qrt.formats import limits
from qrt.formats.encode import Typed, encode_entry, encode_string
from qrt.formats.fields import Metadata
from qrt.formats.qtype import QType

Bytes = bytes | bytearray | memoryview | NDArray[np.generic]
TensorSource = tuple[str, QType, tuple[int, ...], Bytes | Callable[[], Bytes]]
"""(name, qtype, shape in NumPy order, its bytes or a function that makes them when needed)"""


def write_gguf(
    path: str | os.PathLike[str],
    metadata: Mapping[str, object],
    tensors: Iterable[TensorSource] = (),
) -> None:
    """Writes a file under a temporary name and renames it when it is whole.

    Values without `Typed` become u32 (i32 below 0), f32, bool, string, or arrays of i32, f32, bool,
    string; NumPy arrays keep their dtype, and the Metadata of an open file keeps its types.
    Raises GGUFError for what the format cannot hold, OSError where the disk fails.
    """
    path = Path(path)
    sources = list(tensors)
    types = metadata.types if isinstance(metadata, Metadata) else {}
    entries = [
        encode_entry(key, Typed(types[key], value) if key in types else value)
        for key, value in metadata.items()
    ]
    alignment = _alignment(metadata)
    infos = _tensor_infos(sources, alignment)
    counts = struct.pack("<4sIQQ", b"GGUF", 3, len(sources), len(entries))
    header = b"".join((counts, *entries, *infos))
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(header + bytes(-len(header) % alignment))
            for name, qtype, shape, source in sources:
                data = _raw(source() if callable(source) else source)
                n_bytes = qtype.n_bytes(shape)
                if len(data) != n_bytes:
                    got = f"expected {n_bytes} bytes of {qtype.name} {shape}, got {len(data)}"
                    raise GGUFError(f"tensor {name!r}: {got}")
                file.write(data)
                file.write(bytes(-n_bytes % alignment))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _alignment(metadata: Mapping[str, object]) -> int:
    value = metadata.get("general.alignment", limits.DEFAULT_ALIGNMENT)
    value = value.value if isinstance(value, Typed) else value
    if not isinstance(value, int) or not 1 <= value <= limits.MAX_ALIGNMENT or value & (value - 1):
        expected = f"a power of two up to {limits.MAX_ALIGNMENT}"
        raise GGUFError(f"general.alignment: expected {expected}, got {value!r}")
    return value


def _tensor_infos(sources: Sequence[TensorSource], alignment: int) -> list[bytes]:
    infos: dict[str, bytes] = {}
    offset = 0
    for name, qtype, shape, _ in sources:
        what = f"tensor {name!r}"
        if name in infos:
            raise GGUFError(f"{what}: occurs twice")
        if not 1 <= len(shape) <= limits.MAX_DIMS:
            raise GGUFError(f"{what}: expected 1 to {limits.MAX_DIMS} dimensions, got {shape}")
        if shape[-1] % qtype.block_size:
            blocks = f"{qtype.name} blocks of {qtype.block_size}"
            raise GGUFError(f"{what}: rows of {shape[-1]} are not whole {blocks}")
        infos[name] = encode_string(what, name, limits.MAX_TENSOR_NAME_BYTES) + struct.pack(
            f"<I{len(shape)}QIQ", len(shape), *reversed(shape), qtype.id, offset
        )
        offset += qtype.n_bytes(shape)
        offset += -offset % alignment
    return list(infos.values())


def _raw(data: Bytes) -> memoryview:
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8).data
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")
