"""Opens GGUF files (versions 2 and 3, little-endian): reads and checks the header, not the tensors.

    magic "GGUF" | u32 version | u64 n_tensors | u64 n_kv
    n_kv x       | string key | u32 type | value
    n_tensors x  | string name | u32 n_dims | u64 dims[n_dims] | u32 type | u64 offset
    padding to general.alignment, then the tensor data; offsets count from here

A string is a u64 length and that many bytes of UTF-8; dims start with the innermost. All sizes
stay Python ints and are checked against the file before they are used.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from qrt.errors import GGUFError
from qrt.formats import limits
from qrt.formats.cursor import Cursor
from qrt.formats.fields import Metadata, metadata_int
from qrt.formats.qtensor import QTensor, Region
from qrt.formats.qtype import QType
from qrt.formats.quants import QTYPE_BY_ID
from qrt.formats.quants.others import why_not
from qrt.formats.split import check_shard, other_shards
from qrt.formats.stored import StoredFile

MAGIC = b"GGUF"
OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https", "a Git LFS pointer: fetch the file that it stands for"),
    (0, b"tjgg", "a GGML file from before GGUF: convert the model again"),
    (0, b"PK\x03\x04", "an archive, perhaps of PyTorch: convert the model to GGUF"),
    (8, b'{"', "a safetensors file: convert the model to GGUF"),
    (0, b"<!", "a web page: the download went wrong"),
)
"""Where files of other kinds have which bytes, and what they are."""


class Shard(NamedTuple):
    """What tells one file from another that takes its place."""

    n_bytes: int
    mtime_ns: int
    header: bytearray  # all that stands before the tensor data


class GGUFFile:
    """An open GGUF file, or all shards of a split one; a context manager.

    `metadata` is that of the first shard, `tensors` those of all.
    """

    def __init__(
        self,
        path: Path,
        version: int,
        metadata: Metadata,
        tensors: dict[str, QTensor],
        shards: list[Shard],
    ) -> None:
        self.path = path
        self.version = version
        self.metadata = metadata
        self.tensors = tensors
        self.shards = shards

    @property
    def file_bytes(self) -> int:
        """The size of all shards."""
        return sum(shard.n_bytes for shard in self.shards)

    def fingerprint(self) -> bytes:
        """A digest of every shard's size, time of change and header."""
        digest = hashlib.sha256()
        for shard in self.shards:
            digest.update(f"{shard.n_bytes} {shard.mtime_ns} {len(shard.header)}\n".encode())
            digest.update(shard.header)
        return digest.digest()

    def close(self) -> None:
        """Lets go of the file, which is closed with the last tensor taken from it."""
        self.metadata = Metadata(self.path, {}, {})
        self.tensors = {}
        self.shards = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Opens a GGUF file; of a split model, the first shard, and finds the others beside it.

    Raises GGUFError: one line with file, field, byte offset, expected and got.
    """
    first = _open_one(Path(path))
    shards = other_shards(first.path, first.metadata)
    for i, shard_path in enumerate(shards):
        shard = _open_one(shard_path)
        check_shard(shard.metadata, i + 1, len(shards) + 1)
        for name, tensor in shard.tensors.items():
            if name in first.tensors:
                raise GGUFError(f"{shard_path}: tensor {name!r} is also in an earlier shard")
            first.tensors[name] = tensor
        first.shards += shard.shards
    if shards:
        n = len(first.tensors)
        metadata_int(first.metadata, "split.tensors.count", default=n, min=n, max=n)
    return first


def _open_one(path: Path) -> GGUFFile:
    file = _open_file(path)
    cursor = Cursor(file)
    version = _version(cursor)
    n_tensors = cursor.count("tensor count", limits.MIN_TENSOR_BYTES)
    n_entries = cursor.count("metadata count", limits.MIN_ENTRY_BYTES)
    metadata = _metadata(cursor, n_entries)
    tensors = _tensors(cursor, n_tensors, _alignment(cursor, metadata))
    file.check_unchanged()
    shard = Shard(file.n_bytes, file.mtime_ns, cursor.header())
    return GGUFFile(path, version, metadata, tensors, [shard])


def _open_file(path: Path) -> StoredFile:
    """Opens a file that starts with the magic."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a directory" if path.is_dir() else "not a regular file"
            raise GGUFError(f"{path}: is {kind}, expected a GGUF file")
        file = StoredFile(path)
    except FileNotFoundError:
        raise GGUFError(f"{path}: no such file") from None
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise GGUFError(f"{path}: cannot be read: {reason}") from e
    start = file.read(0, min(file.n_bytes, limits.HEADER_BYTES)).tobytes()
    if not start:
        raise GGUFError(f"{path}: is empty, expected a GGUF file")
    if start[:4] != MAGIC:
        problem = f"expected {MAGIC!r} at byte 0, got {start[:4]!r}"
        kinds = (kind for at, magic, kind in OTHERS if start[at:].startswith(magic))
        problem += next((f"; it is {kind}" for kind in kinds), "")
        raise GGUFError(f"{path}: not a GGUF file: {problem}")
    if len(start) < limits.HEADER_BYTES:
        problem = f"the header needs {limits.HEADER_BYTES} bytes, the file has {len(start)}"
        raise GGUFError(f"{path}: truncated: {problem}")
    return file


def _version(cursor: Cursor) -> int:
    cursor.pos = len(MAGIC)
    version = cursor.u32("version")
    if version in (2, 3):
        return version
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in (1, 2, 3):
        problem = "the file is big-endian, only little-endian files are supported"
    elif version == 1:
        problem = "GGUF version 1 is not supported, convert the model again"
    else:
        problem = f"expected 2 or 3, got {version}"
    raise cursor.error("version", 4, problem)


def _metadata(cursor: Cursor, n_entries: int) -> Metadata:
    values: dict[str, object] = {}
    types: dict[str, str] = {}
    for i in range(n_entries):
        field, at = f"metadata key {i}", cursor.pos
        key = cursor.string(field, limits.MAX_KEY_BYTES)
        if not key:
            raise cursor.error(field, at, "is empty")
        if key in values:
            raise cursor.error(field, at, f"{key!r} occurs twice")
        types[key], values[key] = cursor.value(key)
    return Metadata(cursor.path, values, types)


def _alignment(cursor: Cursor, metadata: Metadata) -> int:
    key = "general.alignment"
    if metadata.types.get(key, "u32") != "u32":
        raise GGUFError(f"{cursor.path}: {key}: expected u32, got {metadata.types[key]}")
    top = limits.MAX_ALIGNMENT
    value = metadata_int(metadata, key, default=limits.DEFAULT_ALIGNMENT, min=1, max=top)
    if value & (value - 1):
        raise GGUFError(f"{cursor.path}: {key}: expected a power of two, got {value}")
    return value


def _tensors(cursor: Cursor, n_tensors: int, alignment: int) -> dict[str, QTensor]:
    infos: dict[str, _Info] = {}
    for i in range(n_tensors):
        field, at = f"tensor name {i}", cursor.pos
        name = cursor.string(field, limits.MAX_TENSOR_NAME_BYTES)
        if name in infos:
            raise cursor.error(field, at, f"{name!r} occurs twice")
        infos[name] = _tensor_info(cursor, f"tensor {name!r}", alignment)
    base = cursor.pos + -cursor.pos % alignment
    _check_ranges(cursor, base, infos)
    tensors: dict[str, QTensor] = {}
    for name, info in infos.items():
        region = Region(cursor.file, base + info.offset)
        tensors[name] = QTensor(name, info.qtype, info.shape, region)
    return tensors


class _Info(NamedTuple):
    qtype: QType
    shape: tuple[int, ...]
    offset: int
    at: int  # where the offset stands in the header

    @property
    def n_bytes(self) -> int:
        return self.qtype.n_bytes(self.shape)


def _tensor_info(cursor: Cursor, field: str, alignment: int) -> _Info:
    at, n_dims = cursor.pos, cursor.u32(field)
    if not 1 <= n_dims <= limits.MAX_DIMS:
        problem = f"has {n_dims} dimensions, expected 1 to {limits.MAX_DIMS}"
        raise cursor.error(field, at, problem)
    dims = [cursor.u64(field) for _ in range(n_dims)]
    if math.prod(max(dim, 1) for dim in dims) > limits.MAX_ELEMENTS:
        raise cursor.error(field, at + 4, f"dimensions {dims} are too large")
    type_at, type_id = cursor.pos, cursor.u32(field)
    qtype = QTYPE_BY_ID.get(type_id)
    if qtype is None:
        raise cursor.error(field, type_at, why_not(type_id))
    if dims[0] % qtype.block_size:
        problem = f"rows of {dims[0]} are not whole {qtype.name} blocks of {qtype.block_size}"
        raise cursor.error(field, at + 4, problem)
    offset_at, offset = cursor.pos, cursor.u64(field)
    if offset % alignment:
        problem = f"its data offset {offset} is not a multiple of the alignment {alignment}"
        raise cursor.error(field, offset_at, problem)
    return _Info(qtype, tuple(reversed(dims)), offset, offset_at)


def _check_ranges(cursor: Cursor, base: int, infos: dict[str, _Info]) -> None:
    """Every tensor inside the file, no two on the same bytes."""
    end, last = 0, ""
    for name, info in sorted(infos.items(), key=lambda item: item[1].offset):
        field, start, stop = f"tensor {name!r}", base + info.offset, info.offset + info.n_bytes
        if base + stop > cursor.size:
            problem = f"its data, bytes {start} to {base + stop}, is not all in the file of "
            problem += f"{cursor.size} bytes; the file is truncated or corrupt"
            raise cursor.error(field, info.at, problem)
        if info.n_bytes and info.offset < end:
            problem = f"its data at byte {start} overlaps that of {last!r}"
            raise cursor.error(field, info.at, problem)
        if info.n_bytes:
            end, last = stop, name
