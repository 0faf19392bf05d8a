"""Q3_K: 256 values in 110 bytes (3.4375 bits each), 16 sub-blocks of 16.

w = (d * (scale - 32)) * (q - 4) with the 6-bit scale of the value's sub-block.

| bytes   | field  |                                                                              |
|---------|--------|------------------------------------------------------------------------------|
| 0-31    | hmask  | bit 2 of q: byte j holds value 32*k + j in bit k, k = 0-7                    |
| 32-95   | qs     | bits 0-1: byte 32*h + j holds values 128*h + 32*k + j in bits 2k, k = 0-3    |
| 96-103  | scales | bits 0-3: byte s holds scales s (low nibble) and s + 8 (high)                |
| 104-107 | scales | bits 4-5: byte 8 + s holds scales s + 4*k in bits 2k, k = 0-3                |
| 108-109 | d      | f16 scale of the scales                                                      |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled

BLOCK = np.dtype([("hmask", "u1", 32), ("qs", "u1", 64), ("scales", "u1", 12), ("d", "<f2")])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    scales = fields(b["scales"][:, :8], 8, 4) | fields(b["scales"][:, 8:], 4, 2) << 4
    q = fields(b["qs"], 32, 2) | fields(b["hmask"], 32, 1) << 2
    centred = column(b["d"]) * (scales.view(np.int8) - np.int8(32))
    return scaled(q.view(np.int8) - np.int8(4), centred)


Q3_K = QType("Q3_K", 11, 256, BLOCK.itemsize, dequantize)
