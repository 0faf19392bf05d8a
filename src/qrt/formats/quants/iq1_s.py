"""IQ1_S: 256 values in 50 bytes (1.5625 bits each), 8 sub-blocks of 32.

w = d * (2 * scale + 1) * (grid[point] + delta), a point for 8 values, delta 1/8 or -1/8.

| bytes | field |                                                                              |
|-------|-------|------------------------------------------------------------------------------|
| 0-1   | d     | f16 scale of the scales                                                      |
| 2-33  | qs    | bits 0-7 of the points                                                       |
| 34-49 | qh    | u16 of each sub-block: 4 times bits 8-10 of a point, 3 bits of scale, a bit that
                  is set where delta is negative                                               |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.grids import points
from qrt.formats.quants.unpack import as_blocks, column, scaled

BLOCK = np.dtype([("d", "<f2"), ("qs", "u1", 32), ("qh", "<u2", 8)])

DELTA = np.float32(0.125)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    qh = b["qh"]
    high = qh[:, :, None] >> np.arange(0, 12, 3, dtype=np.uint16) & 7
    values = points("IQ1", b["qs"] | high.reshape(len(blocks), -1) << 8)
    delta = np.where(qh >> 15, -DELTA, DELTA)
    shifted = values + np.repeat(delta, 32, axis=1)
    return scaled(shifted, column(b["d"]) * (2 * (qh >> 12 & 7) + 1))


IQ1_S = QType("IQ1_S", 19, 256, BLOCK.itemsize, dequantize)
