"""Q8_0: 32 values in 34 bytes (8.5 bits each), w = d * q.

| bytes | field |           |
|-------|-------|-----------|
| 0-1   | d     | f16 scale |
| 2-33  | qs    | int8 q    |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, inverse

BLOCK = np.dtype([("d", "<f2"), ("qs", "i1", 32)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    q: NDArray[np.int8] = b["qs"]
    return column(b["d"]) * q


def quantize(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The largest magnitude becomes 127 * d; halves round away from zero."""
    d = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
    x = values * inverse(d)
    whole = np.trunc(x)
    b = np.empty(len(values), BLOCK)
    b["d"] = d[:, 0]
    b["qs"] = whole + np.trunc(2 * (x - whole))
    return b.view(np.uint8).reshape(-1, BLOCK.itemsize)


Q8_0 = QType("Q8_0", 8, 32, BLOCK.itemsize, dequantize, quantize)
