"""Q1_0: 128 values in 18 bytes (1.125 bits each), w = d where q is 1, -d where it is 0.

| bytes | field |                                             |
|-------|-------|---------------------------------------------|
| 0-1   | d     | f16 scale                                   |
| 2-17  | qs    | 1-bit q: value j in bit j % 8 of byte j / 8 |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields

BLOCK = np.dtype([("d", "<f2"), ("qs", "u1", 16)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    return column(b["d"]) * (2 * fields(b["qs"], 1, 1).view(np.int8) - np.int8(1))


Q1_0 = QType("Q1_0", 41, 128, BLOCK.itemsize, dequantize)
