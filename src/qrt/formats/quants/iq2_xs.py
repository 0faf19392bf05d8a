"""IQ2_XS: 256 values in 74 bytes (2.3125 bits each), 16 sub-blocks of 16.

w = d * (scale + 0.5) / 4 * grid[point] * sign, a point and a byte of signs for 8 values.

| bytes | field  |                                                                       |
|-------|--------|-----------------------------------------------------------------------|
| 0-1   | d      | f16 scale of the scales                                               |
| 2-65  | qs     | u16 each: 9 bits of point, 7 bits of signs                            |
| 66-73 | scales | sub-block s: low nibble of byte s / 2 where s is even, else the high  |

The eighth sign of each byte makes the number of minuses even.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.grids import even_signs, points
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled

BLOCK = np.dtype([("d", "<f2"), ("qs", "<u2", 32), ("scales", "u1", 8)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    values = points("IQ2_XS", b["qs"] & 511) * even_signs((b["qs"] >> 9).astype(np.uint8))
    scales = fields(b["scales"], 1, 4) + np.float32(0.5)
    return scaled(values, column(b["d"]) * scales * np.float32(0.25))


IQ2_XS = QType("IQ2_XS", 17, 256, BLOCK.itemsize, dequantize)
