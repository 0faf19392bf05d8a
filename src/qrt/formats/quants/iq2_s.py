"""IQ2_S: 256 values in 82 bytes (2.5625 bits each), 16 sub-blocks of 16.

w = d * (scale + 0.5) / 4 * grid[point] * sign, a point and a byte of signs for 8 values.

| bytes | field  |                                                                       |
|-------|--------|-----------------------------------------------------------------------|
| 0-1   | d      | f16 scale of the scales                                               |
| 2-33  | qs     | bits 0-7 of the points                                                |
| 34-65 | signs  | value 8*p + j is negative where bit j of byte p is set                |
| 66-73 | qh     | bits 8-9 of point p in bits 2 * (p % 4) of byte p / 4                 |
| 74-81 | scales | sub-block s: low nibble of byte s / 2 where s is even, else the high  |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.grids import points, signs
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled

BLOCK = np.dtype(
    [("d", "<f2"), ("qs", "u1", 32), ("signs", "u1", 32), ("qh", "u1", 8), ("scales", "u1", 8)]
)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    index = b["qs"] | fields(b["qh"], 1, 2).astype(np.uint16) << 8
    scales = fields(b["scales"], 1, 4) + np.float32(0.5)
    values = points("IQ2_S", index) * signs(b["signs"])
    return scaled(values, column(b["d"]) * scales * np.float32(0.25))


IQ2_S = QType("IQ2_S", 22, 256, BLOCK.itemsize, dequantize)
