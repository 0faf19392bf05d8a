"""IQ3_XXS: 256 values in 98 bytes (3.0625 bits each), 8 sub-blocks of 32.

w = d * (scale + 0.5) / 2 * grid[point] * sign, a point for 4 values, a byte of signs for 8.

| bytes | field |                                                             |
|-------|-------|-------------------------------------------------------------|
| 0-1   | d     | f16 scale of the scales                                     |
| 2-65  | qs    | the points, a byte each                                     |
| 66-97 | signs | u32 of each sub-block: 4 times 7 bits of signs, scale       |

The eighth sign of each byte makes the number of minuses even.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtype import QType
from qrt.formats.quants.grids import points
from qrt.formats.quants.iq2_xxs import signs_and_scales
from qrt.formats.quants.unpack import as_blocks, column, scaled

BLOCK = np.dtype([("d", "<f2"), ("qs", "u1", 64), ("signs", "<u4", 8)])


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    b = as_blocks(blocks, BLOCK)
    signs, scales = signs_and_scales(b["signs"])
    values = points("IQ3_XXS", b["qs"]) * signs
    return scaled(values, column(b["d"]) * scales * np.float32(0.5))


IQ3_XXS = QType("IQ3_XXS", 18, 256, BLOCK.itemsize, dequantize)
