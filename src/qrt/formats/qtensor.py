"""A tensor as it stands in a model file."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType

_CHUNK_VALUES = 1 << 18
"""Values dequantized at a time: intermediate arrays stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class QTensor:
    """A named tensor: its type, its shape and its bytes, which are a view of the mapped file.

    `shape` is in NumPy order: a matrix is (out, in), and its last dimension is whole blocks.
    """

    name: str
    qtype: QType
    shape: tuple[int, ...]
    data: NDArray[np.uint8]  # (n_bytes,) read-only
    mapping: mmap.mmap | None = field(default=None, repr=False)
    offset: int = 0  # of `data` in `mapping`

    @property
    def n_rows(self) -> int:
        """Rows along the last dimension."""
        return math.prod(self.shape[:-1])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.qtype.n_bytes(self.shape[-1:])

    def dequantize(self) -> NDArray[np.float32]:
        """The values, float32 of `shape`. Infinite or NaN scales give infinite or NaN values."""
        qtype = self.qtype
        blocks = self.data.reshape(-1, qtype.block_bytes)
        out = np.empty((len(blocks), qtype.block_size), np.float32)
        step = _CHUNK_VALUES // qtype.block_size
        with np.errstate(over="ignore", invalid="ignore"):
            for i in range(0, len(blocks), step):
                out[i : i + step] = qtype.dequantize(blocks[i : i + step])
        return out.reshape(self.shape)

    def drop_pages(self) -> None:
        """Tells the kernel that the mapped pages may go; they are read again when touched.

        Only whole pages inside the tensor's range are dropped, and only where the system can.
        """
        if self.mapping is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        start = -(-self.offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (self.offset + len(self.data)) // mmap.PAGESIZE * mmap.PAGESIZE
        if start < end:
            self.mapping.madvise(mmap.MADV_DONTNEED, start, end - start)
