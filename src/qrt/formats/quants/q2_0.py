"""Q2_0: 64 values in 18 bytes (2.25 bits each), w = d * (q - 1).

| bytes | field |                                                        |
|-------|-------|--------------------------------------------------------|
| 0-1   | d     | f16 scale                                              |
| 2-17  | qs    | 2-bit q: value j in bits 2 * (j % 4) of byte j / 4     |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields

BLOCK = np.dtype([("d", "<f2"), ("qs", "u1", 16)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    return column(b["d"]) * (fields(b["qs"], 1, 2).view(np.int8) - np.int8(1))


Q2_0 = QType("Q2_0", 42, 64, BLOCK.itemsize, dequantize)
