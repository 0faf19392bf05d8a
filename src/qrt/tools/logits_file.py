"""Files of saved logits, so that models can be compared with one that is not at hand any more.

All numbers are little-endian. The header has 64 bytes:

| bytes | field | |
|---|---|---|
| 0-7 | magic | "QRTLOGIT" |
| 8-11 | version | uint32, 1 |
| 12-15 | n_vocab | uint32 |
| 16-19 | n_ctx | uint32, tokens of a chunk |
| 20-23 | n_chunks | uint32 |
| 24-31 | | zero |
| 32-63 | sha256 | of the vocabulary, see `tools.chunks.Vocabulary` |

Chunk after chunk follows: its n_ctx tokens as int32, then the logits of its scored rows, each
n_vocab of float32. Nothing follows the last chunk.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from qrt.config import replacing
from qrt.errors import InputError, ModelError
from qrt.tools.chunks import MIN_N_CTX, Chunk, Row, Vocabulary, checked, n_scored

MAGIC = b"QRTLOGIT"
VERSION = 1
_HEADER = struct.Struct("<8sIIII8s32s")
_RESERVED = bytes(8)


class LogitsWriter:
    """Writes chunks: `begin` one, then `add` its scored rows in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self, chunk: Chunk) -> None:
        """The tokens of the next chunk."""
        self._file.write(chunk.astype("<i4").tobytes())

    def add(self, row: Row) -> None:
        """The logits of its next row."""
        self._file.write(row.astype("<f4", copy=False).tobytes())


@contextmanager
def saving(path: Path, vocabulary: Vocabulary, n_ctx: int, n_chunks: int) -> Iterator[LogitsWriter]:
    """A writer of a file that is there once it is complete. Raises InputError where it cannot be.

    What stands at `path` is replaced, if it is a file.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: cannot be written: it is there and is no file")
    header = (MAGIC, VERSION, vocabulary.n_vocab, n_ctx, n_chunks, _RESERVED, vocabulary.sha256)
    try:
        with replacing(path) as file:
            file.write(_HEADER.pack(*header))
            yield LogitsWriter(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def is_saved_logits(path: str | os.PathLike[str]) -> bool:
    """Whether a file that is there begins as saved logits do."""
    if not Path(path).is_file():
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class SavedLogits:
    """Saved logits in an open file: `chunks` gives tokens, `rows` the logits of the last given.

    Raises ModelError if the file is not as its header says.
    """

    def __init__(self, file: BinaryIO, where: str) -> None:
        self.where = where
        self._file = file
        fields = _HEADER.unpack(self._read(_HEADER.size))
        magic, version, n_vocab, n_ctx, n_chunks, reserved, sha256 = fields
        self.n_ctx: int = n_ctx
        self.n_chunks: int = n_chunks
        self.vocabulary = Vocabulary(n_vocab, sha256)
        if magic != MAGIC or version != VERSION or reserved != _RESERVED:
            raise ModelError(f"{where}: not saved logits of version {VERSION}; save them anew")
        if not n_vocab or n_ctx < MIN_N_CTX or not n_chunks:
            sizes = f"{n_vocab} tokens, {n_chunks} chunks of {n_ctx}"
            raise ModelError(f"{where}: the header is wrong: a vocabulary of {sizes}")
        chunk_bytes = 4 * n_ctx + 4 * n_vocab * n_scored(n_ctx)
        expected = _HEADER.size + n_chunks * chunk_bytes
        size = os.fstat(self._file.fileno()).st_size
        if size != expected:
            raise ModelError(
                f"{where}: truncated or corrupt: the header asks for {expected} bytes, "
                f"the file has {size}; save the logits anew"
            )

    def chunks(self) -> Iterator[Chunk]:
        """The tokens of each chunk. All `rows` of one must be taken before the next."""
        for number in range(1, self.n_chunks + 1):
            chunk = np.frombuffer(self._read(4 * self.n_ctx), "<i4").astype(np.int32)
            if chunk.min() < 0 or chunk.max() >= self.vocabulary.n_vocab:
                raise ModelError(f"{self.where}: chunk {number} has tokens outside the vocabulary")
            yield chunk

    def rows(self, chunk: Chunk) -> Iterator[Row]:
        """The logits of the scored rows of the chunk that `chunks` gave last, in order."""
        for _ in range(n_scored(len(chunk))):
            row = np.frombuffer(self._read(4 * self.vocabulary.n_vocab), "<f4")
            yield checked(row.astype(np.float32, copy=False), self.where)

    def _read(self, n_bytes: int) -> bytes:
        try:
            data = self._file.read(n_bytes)
        except OSError as error:
            raise ModelError(f"{self.where}: cannot be read: {error.strerror}") from None
        if len(data) != n_bytes:
            raise ModelError(f"{self.where}: truncated: {n_bytes} bytes expected, got {len(data)}")
        return data
