"""TQ2_0: 256 values in 66 bytes (2.0625 bits each), w = d * (q - 1).

| bytes | field |                                                                          |
|-------|-------|--------------------------------------------------------------------------|
| 0-63  | qs    | 2-bit q: byte 32*h + j holds values 128*h + 32*k + j in bits 2k, k = 0-3 |
| 64-65 | d     | f16 scale                                                                |

Models of three values use q = 0, 1 and 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields

BLOCK = np.dtype([("qs", "u1", 64), ("d", "<f2")])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    return column(b["d"]) * (fields(b["qs"], 32, 2).view(np.int8) - np.int8(1))


TQ2_0 = QType("TQ2_0", 35, 256, BLOCK.itemsize, dequantize)
