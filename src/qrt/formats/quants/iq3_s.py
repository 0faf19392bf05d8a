"""IQ3_S: 256 values in 110 bytes (3.4375 bits each), 8 sub-blocks of 32.

w = d * (2 * scale + 1) * grid[point] * sign, a point for 4 values, a byte of signs for 8.

| bytes   | field  |                                                                       |
|---------|--------|-----------------------------------------------------------------------|
| 0-1     | d      | f16 scale of the scales                                               |
| 2-65    | qs     | bits 0-7 of the points                                                |
| 66-73   | qh     | bit 8 of point p in bit p % 8 of byte p / 8                           |
| 74-105  | signs  | value j is negative where bit j % 8 of byte j / 8 is set              |
| 106-109 | scales | sub-block s: low nibble of byte s / 2 where s is even, else the high  |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.grids import points, signs
from qrt.formats.quants.unpack import as_blocks, column, fields, scaled

BLOCK = np.dtype(
    [("d", "<f2"), ("qs", "u1", 64), ("qh", "u1", 8), ("signs", "u1", 32), ("scales", "u1", 4)]
)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    index = b["qs"] | fields(b["qh"], 1, 1).astype(np.uint16) << 8
    scales = 2 * fields(b["scales"], 1, 4) + np.uint8(1)
    return scaled(points("IQ3_S", index) * signs(b["signs"]), column(b["d"]) * scales)


IQ3_S = QType("IQ3_S", 21, 256, BLOCK.itemsize, dequantize)
