"""Q4_0: 32 values in 18 bytes (4.5 bits each), w = d * (q - 8).

| bytes | field |                                                             |
|-------|-------|-------------------------------------------------------------|
| 0-1   | d     | f16 scale                                                   |
| 2-17  | qs    | 4-bit q: byte j holds value j (low nibble) and j + 16 (high) |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields, inverse

BLOCK = np.dtype([("d", "<f2"), ("qs", "u1", 16)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    return column(b["d"]) * (fields(b["qs"], 16, 4).view(np.int8) - np.int8(8))


def quantize(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The value of largest magnitude becomes -8 * d: it alone reaches the end of the range."""
    peak = np.take_along_axis(values, np.abs(values).argmax(axis=1)[:, None], axis=1)
    d = peak / np.float32(-8)
    q = (values * inverse(d) + np.float32(8.5)).astype(np.uint8).clip(max=15)
    b = np.empty(len(values), BLOCK)
    b["d"] = d[:, 0]
    b["qs"] = q[:, :16] | q[:, 16:] << 4
    return b.view(np.uint8).reshape(-1, BLOCK.itemsize)


Q4_0 = QType("Q4_0", 2, 32, BLOCK.itemsize, dequantize, quantize)
