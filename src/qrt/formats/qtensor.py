"""A tensor as it stands in a model file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.stored import StoredFile

_CHUNK_VALUES = 1 << 18
"""Values dequantized at a time: intermediate arrays stay in the cache."""


class Region(NamedTuple):
    """Where the bytes of a tensor begin in a file."""

    file: StoredFile
    start: int


@dataclass(frozen=True, slots=True, eq=False)
class QTensor:
    """A named tensor: its type, its shape, and its bytes, in memory or in a file.

    `shape` is in NumPy order: a matrix is (out, in), and its last dimension is whole blocks.
    """

    name: str
    qtype: QType
    shape: tuple[int, ...]
    source: NDArray[np.uint8] | Region

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.qtype.n_bytes(self.shape)

    @property
    def n_rows(self) -> int:
        """Rows along the last dimension."""
        return math.prod(self.shape[:-1])

    @property
    def matrix_rows(self) -> int:
        """Rows of each of the matrices that the last two dimensions are; a vector is one row."""
        return self.shape[-2] if len(self.shape) > 1 else 1

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.qtype.n_bytes(self.shape[-1:])

    @property
    def data(self) -> NDArray[np.uint8]:
        """All bytes, (n_bytes,): a private copy of what is in a file. Raises GGUFError."""
        return self.read(0, self.n_bytes)

    def read(self, start: int, n_bytes: int) -> NDArray[np.uint8]:
        """Some of the bytes. Raises GGUFError where the file changed since it was opened."""
        if isinstance(self.source, Region):
            return self.source.file.read(self.source.start + start, n_bytes)
        return self.source[start : start + n_bytes]

    def dequantize(self) -> NDArray[np.float32]:
        """The values, float32 of `shape`. Infinite or NaN scales give infinite or NaN values.

        Raises GGUFError where the file changed since it was opened.
        """
        qtype = self.qtype
        n_blocks = self.n_bytes // qtype.block_bytes
        out = np.empty((n_blocks, qtype.block_size), np.float32)
        step = _CHUNK_VALUES // qtype.block_size
        with np.errstate(over="ignore", invalid="ignore"):
            for i in range(0, n_blocks, step):
                n = min(step, n_blocks - i)
                raw = self.read(i * qtype.block_bytes, n * qtype.block_bytes)
                out[i : i + n] = qtype.dequantize(raw.reshape(n, qtype.block_bytes))
        return out.reshape(self.shape)
