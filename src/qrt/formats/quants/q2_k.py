"""Q2_K: 256 values in 84 bytes (2.625 bits each), 16 sub-blocks of 16.

w = (d * scale) * q - (dmin * min) with the scale and min of the value's sub-block.

| bytes | field  |                                                                          |
|-------|--------|--------------------------------------------------------------------------|
| 0-15  | scales | sub-block s: 4-bit scale (low nibble) and 4-bit min (high)               |
| 16-79 | qs     | 2-bit q: byte 32*h + j holds values 128*h + 32*k + j in bits 2k, k = 0-3 |
| 80-81 | d      | f16 scale of the scales                                                  |
| 82-83 | dmin   | f16 scale of the mins                                                    |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled

BLOCK = np.dtype([("scales", "u1", 16), ("qs", "u1", 64), ("d", "<f2"), ("dmin", "<f2")])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    scales = column(b["d"]) * (b["scales"] & 15)
    mins = column(b["dmin"]) * (b["scales"] >> 4)
    return scaled(fields(b["qs"], 32, 2), scales, mins)


Q2_K = QType("Q2_K", 10, 256, BLOCK.itemsize, dequantize)
