"""IQ1_M: 256 values in 56 bytes (1.75 bits each), 16 sub-blocks of 16.

w = d * (2 * scale + 1) * (grid[point] + delta), a point and a delta of 1/8 or -1/8 for 8 values.

| bytes | field  |                                                                          |
|-------|--------|--------------------------------------------------------------------------|
| 0-31  | qs     | bits 0-7 of the points                                                   |
| 32-47 | qh     | nibble of each point, low ones first: bits 8-10, and a bit that is set
                   where delta is negative                                                   |
| 48-55 | scales | u16 each: 4 times 3 bits of scale, 4 bits of d, the lowest first          |

d is a float16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.grids import points
from qrt.formats.quants.iq1_s import DELTA
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled

BLOCK = np.dtype([("qs", "u1", 32), ("qh", "u1", 16), ("scales", "<u2", 4)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    quarters = (b["scales"] >> 12) << np.arange(0, 16, 4, dtype=np.uint16)
    d = np.bitwise_or.reduce(quarters, axis=1).view(np.float16)
    scales = b["scales"][:, :, None] >> np.arange(0, 12, 3, dtype=np.uint16) & 7
    high = fields(b["qh"], 1, 4)
    values = points("IQ1", b["qs"] | (high & 7).astype(np.uint16) << 8)
    delta = np.where(high >> 3, -DELTA, DELTA)
    shifted = values + np.repeat(delta, 8, axis=1)
    return scaled(shifted, column(d) * (2 * scales.reshape(len(blocks), -1) + 1))


IQ1_M = QType("IQ1_M", 29, 256, BLOCK.itemsize, dequantize)
